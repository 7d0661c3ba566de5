from typing import Any

import pytest

import runtime
from runtime import ApplicationError, action, api, env, http_action, internal, internal_query, mutation, query, v
from runtime.protocol.declaration import Kind, Visibility
from runtime.protocol.values import InvalidValue
from runtime.sdk.env import replace_environment
from runtime.sdk.functions import RegisteredFunction
from runtime.sdk.references import function_path


def test_a_decorator_keeps_the_function_callable() -> None:
    @query
    def double(ctx: Any, n: int) -> int:
        """Twice."""
        return n * 2

    assert double(None, n=2) == 4
    assert (double.kind, double.visibility, double.__name__, double.__doc__) == (
        Kind.QUERY,
        Visibility.PUBLIC,
        "double",
        "Twice.",
    )


def test_the_explicit_form_takes_validators() -> None:
    @mutation(args={"n": v.number()}, returns=v.null())
    def store(ctx: Any, n: Any) -> Any: ...

    assert store.args.json()["value"] == {"n": {"fieldType": {"type": "number"}, "optional": False}}
    assert store.returns is v.null()


def test_explicit_validators_must_name_parameters() -> None:
    @action(args={"m": v.number()})
    def wrong(ctx: Any, n: Any) -> Any: ...

    with pytest.raises(TypeError, match="list 'm', which is none of its parameters"):
        _ = wrong.args


def test_internal_forms_are_internal_and_http_actions_too() -> None:
    @internal_query
    def hidden(ctx: Any) -> None: ...

    @http_action
    def page(ctx: Any, request: Any) -> None: ...

    assert hidden.visibility is Visibility.INTERNAL
    assert (page.kind, page.visibility) == (Kind.HTTP_ACTION, Visibility.INTERNAL)


def test_two_decorators_or_no_function_are_refused() -> None:
    with pytest.raises(TypeError, match="one decorator is enough"):
        query(query(lambda ctx: None))
    with pytest.raises(TypeError, match="decorates a function, not str"):
        query("x")  # type: ignore[call-overload]  # refused on purpose


@pytest.mark.parametrize("wrong", [lambda: None, lambda *, ctx: None, lambda ctx, *rest: None])
def test_a_signature_that_cannot_be_called_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError):
        _ = RegisteredFunction(wrong, Kind.QUERY, Visibility.PUBLIC, None, None).args


@pytest.mark.parametrize(
    "ref, path",
    [
        (api.messages.list, "messages:list"),
        (internal.admin.users.purge, "admin/users:purge"),
        ("admin/users:purge", "admin/users:purge"),
        ("messages", "messages:default"),
    ],
)
def test_a_reference_means_a_path(ref: Any, path: str) -> None:
    assert function_path(ref) == path


@pytest.mark.parametrize(
    "ref, error", [(api.messages, ValueError), ("a b", ValueError), (5, TypeError), (None, TypeError)]
)
def test_what_names_no_function_is_refused(ref: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        function_path(ref)


def test_a_registered_function_is_its_own_reference() -> None:
    function = query(lambda ctx: None)
    with pytest.raises(ValueError, match="has no path"):
        function_path(function)
    function.path = "m:q"
    assert function_path(function) == "m:q"


def test_an_application_error_holds_a_value() -> None:
    assert ApplicationError({"code": 5}).data == {"code": 5}
    assert str(ApplicationError("sorry")) == "sorry"
    with pytest.raises(InvalidValue, match=r"data\.x"):
        ApplicationError({"x": object()})


def test_env_is_read_only_and_live() -> None:
    replace_environment({"A": "1"})
    assert (env["A"], env.get("B"), "B" in env, dict(env)) == ("1", None, False, {"A": "1"})
    replace_environment({"B": "2"})
    assert dict(env) == {"B": "2"}
    with pytest.raises(KeyError, match="warren env set A"):
        _ = env["A"]
    with pytest.raises(TypeError):
        env["C"] = "3"  # type: ignore[index]  # refused on purpose
    assert "2" not in repr(env)


def test_everything_promised_can_be_imported() -> None:
    assert all(hasattr(runtime, name) for name in runtime.__all__)
