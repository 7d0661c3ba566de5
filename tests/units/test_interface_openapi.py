"""A deployment's interface as an OpenAPI document."""

from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from control_plane.interface.openapi import document
from control_plane.interface.schemas import COMPONENTS, schema_of
from runtime.protocol.declaration import Declaration, FunctionDeclaration, Kind, RouteDeclaration, Shape, Visibility
from runtime.protocol.values import Int64, to_json
from runtime.sdk.validators import Validator, v

EVERYTHING = v.object(
    {
        "id": v.id("messages"),
        "n": v.number(),
        "big": v.int64(),
        "raw": v.bytes(),
        "flag": v.optional(v.boolean()),
        "kind": v.union(v.literal("a"), v.literal(2), v.literal(Int64(3)), v.null()),
        "many": v.array(v.object({"deep": v.record(v.string(), v.array(v.any()))})),
        "never": v.optional(v.union()),
    }
)


def function(path: str, visibility: Visibility = Visibility.PUBLIC, **more: Any) -> FunctionDeclaration:
    return FunctionDeclaration(path, more.pop("kind", Kind.QUERY), visibility, "m.py", 1, **more)


def route(method: str, pattern: str, shape: Shape = Shape.EXACT) -> RouteDeclaration:
    return RouteDeclaration(f"{method} {pattern}", method, pattern, shape, "http:h", "http.py", 1)


def made(*functions: FunctionDeclaration, routes: tuple[RouteDeclaration, ...] | None = None) -> dict[str, Any]:
    """A document, checked."""
    declaration = Declaration(functions, routes)
    found = document("shop", 7, declaration, "http://shop.cloud.localhost", "http://shop.site.localhost")
    validate(found)
    return found


def accepts(validator: Validator, value: Any) -> bool:
    """Whether the schema of a validator accepts a value on the wire."""
    root = {**schema_of(validator.json()), "components": {"schemas": dict(COMPONENTS)}}
    return bool(OAS31Validator(root).is_valid(to_json(value)))


def test_a_document_of_every_validator_is_valid_openapi() -> None:
    found = made(function("a/b:c", args=EVERYTHING.json(), returns=v.nullable(EVERYTHING).json()))
    operation = found["paths"]["/api/run/a/b/c"]["post"]
    assert operation["x-warren-function"] == {"path": "a/b:c", "kind": "query"}
    assert operation["servers"] == [{"url": "http://shop.cloud.localhost"}]


def test_a_deployment_without_a_version_has_a_valid_document_of_nothing() -> None:
    assert made()["paths"] == {}


def test_internal_functions_and_http_actions_are_not_in_it() -> None:
    found = made(
        function("m:hidden", Visibility.INTERNAL), function("m:page", kind=Kind.HTTP_ACTION), function("m:shown")
    )
    assert list(found["paths"]) == ["/api/run/m/shown"]
    assert "hidden" not in str(found)


def test_a_function_without_validators_takes_any_object_and_returns_anything() -> None:
    content = made(function("m:f"))["paths"]["/api/run/m/f"]["post"]
    body = content["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"]["args"] == {"type": "object"} and body["required"] == ["format"]
    done, _ = content["responses"]["200"]["content"]["application/json"]["schema"]["oneOf"]
    assert done["properties"]["value"] == {}


def test_every_operation_has_an_id_of_its_own() -> None:
    found = made(
        function("a_b:c"),
        function("a/b:c"),
        routes=(route("GET", "/a/b"), route("GET", "/a_b"), route("GET", "/"), route("POST", "/")),
    )
    ids = [operation["operationId"] for item in found["paths"].values() for operation in item.values()]
    assert len(set(ids)) == len(ids) == 6


def test_parameters_prefixes_and_mounts_are_templates_of_openapi() -> None:
    found = made(
        routes=(
            route("GET", "/users/{id}/posts/{post}", Shape.PARAMETERS),
            route("GET", "/files/", Shape.PREFIX),
            route("*", "/app/", Shape.MOUNT),
        )
    )
    paths = found["paths"]
    assert [each["name"] for each in paths["/users/{id}/posts/{post}"]["get"]["parameters"]] == ["id", "post"]
    assert [each["name"] for each in paths["/files/{rest}"]["get"]["parameters"]] == ["rest"]
    assert set(paths["/app/{rest}"]) == {"get", "post", "put", "patch", "delete", "options"}


def test_of_two_routes_that_openapi_cannot_tell_apart_the_one_that_answers_is_described() -> None:
    found = made(
        routes=(
            route("GET", "/users/", Shape.PREFIX),
            route("GET", "/users/{id}", Shape.PARAMETERS),
            route("POST", "/users/{name}", Shape.PARAMETERS),
        )
    )
    assert list(found["paths"]) == ["/users/{id}"]
    item = found["paths"]["/users/{id}"]
    assert item["get"]["x-warren-route"]["shape"] == "parameters"
    assert [each["name"] for each in item["post"]["parameters"]] == ["id"]
    assert len(found["x-warren-routes"]) == 3


@pytest.mark.parametrize(
    ("validator", "fits", "does_not"),
    [
        (v.number(), [1, 1.5, float("nan"), float("-inf"), -0.0], ["1", Int64(1), None]),
        (v.int64(), [Int64(-(2**63)), Int64(2**63 - 1)], [1, b"12345678"]),
        (v.bytes(), [b"", b"\x00\xff"], ["", Int64(1)]),
        (v.id("t"), ["x"], [1]),
        (v.null(), [None], [False, 0]),
        (v.boolean(), [True, False], [0, "true"]),
        (v.literal(Int64(3)), [Int64(3)], [3, Int64(4)]),
        (v.union(), [], [None, {}]),
        (v.any(), [None, {"a": [Int64(1)]}], []),
        (v.record(v.string(), v.number()), [{}, {"a": 1}], [{"a": "1"}, []]),
        (v.object({"a": v.null(), "b": v.optional(v.null())}), [{"a": None}], [{}, {"a": None, "c": 1}]),
    ],
)
def test_a_schema_accepts_what_its_validator_accepts(
    validator: Validator, fits: list[Any], does_not: list[Any]
) -> None:
    assert [value for value in fits if not accepts(validator, value)] == []
    assert [value for value in does_not if accepts(validator, value)] == []


@pytest.mark.parametrize(
    "written", [None, 1, "x", [], {}, {"type": 3}, {"type": "object", "value": 1}, {"type": "union"}, {"type": "eval"}]
)
def test_a_validator_that_means_nothing_is_any_value(written: Any) -> None:
    assert schema_of(written) == {}
