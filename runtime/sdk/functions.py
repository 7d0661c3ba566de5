"""What does a tenant declare, and what may it raise?

The decorators turn a function into a `RegisteredFunction`: what kind it is, who may call it, and its validators. Its
path is given by the guest when the bundle is loaded, from the module and the name where it was found.

Rules
1. A registered function can still be called like the function it was: helpers and tests do.
2. Annotations are read when somebody asks for the validators, not at once: they may name what is defined further down.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, overload

from runtime.protocol import values
from runtime.protocol.declaration import Kind, Visibility
from runtime.sdk.annotations import arguments_of, returns_of
from runtime.sdk.validators import Object, Validator

Handler = Callable[..., Any]


class FunctionError(Exception):
    """A function that was called with ``ctx.run_*`` failed; the message is the one it failed with."""


class LimitExceeded(Exception):
    """A limit was passed; the message names it, its value and what was observed."""


class ApplicationError(Exception):
    """An error meant for the caller: ``data`` reaches it even where error details are hidden."""

    def __init__(self, data: Any = None) -> None:
        values.check(data, "data")
        super().__init__(data)
        self.data = data

    def __str__(self) -> str:
        return self.data if type(self.data) is str else repr(self.data)


class RegisteredFunction:
    """A function of the bundle that can be called by name."""

    kind: Kind
    __name__: str

    def __init__(
        self,
        handler: Handler,
        kind: Kind,
        visibility: Visibility,
        args: Mapping[str, Validator] | Validator | None,
        returns: Validator | None,
    ) -> None:
        if isinstance(handler, RegisteredFunction):
            raise TypeError(f"{handler.__name__} is a {handler.kind} already: one decorator is enough")
        if not callable(handler) or not hasattr(handler, "__code__"):
            raise TypeError(f"@{kind} decorates a function, not {type(handler).__name__}")
        self.handler = handler
        self.kind = kind
        self.visibility = visibility
        self.path = ""
        self.__name__ = handler.__name__
        self.__doc__ = handler.__doc__
        self.__module__ = handler.__module__
        self.__wrapped__ = handler
        self._given_args = args
        self._given_returns = returns
        self._args: Object | None = None
        self._returns: Validator | None = None
        self._returns_known = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.handler(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.path or self.__name__}>"

    @property
    def args(self) -> Object:
        """The validators of its arguments; raises `TypeError` when an annotation cannot be one."""
        if self._args is None:
            self._args = arguments_of(self.handler, self._given_args)
        return self._args

    @property
    def returns(self) -> Validator | None:
        """The validator of its result; ``None`` when nothing was promised."""
        if not self._returns_known:
            given = self._given_returns
            self._returns = returns_of(self.handler) if given is None else given
            self._returns_known = True
        return self._returns


class Decorator(Protocol):
    """``@query``, or ``@query(args={…}, returns=…)``."""

    @overload
    def __call__(self, handler: Handler, /) -> RegisteredFunction: ...
    @overload
    def __call__(
        self, *, args: Mapping[str, Validator] | Validator | None = None, returns: Validator | None = None
    ) -> Callable[[Handler], RegisteredFunction]: ...


def _decorator(name: str, kind: Kind, visibility: Visibility) -> Decorator:
    def decorate(
        handler: Handler | None = None,
        *,
        args: Mapping[str, Validator] | Validator | None = None,
        returns: Validator | None = None,
    ) -> Any:
        if handler is None:
            return lambda function: RegisteredFunction(function, kind, visibility, args, returns)
        return RegisteredFunction(handler, kind, visibility, args, returns)

    decorate.__name__ = decorate.__qualname__ = name
    article = "an" if name[0] in "ai" else "a"
    decorate.__doc__ = f"Make this function {article} {name.replace('_', ' ')} of the deployment."
    return decorate


query = _decorator("query", Kind.QUERY, Visibility.PUBLIC)
mutation = _decorator("mutation", Kind.MUTATION, Visibility.PUBLIC)
action = _decorator("action", Kind.ACTION, Visibility.PUBLIC)
internal_query = _decorator("internal_query", Kind.QUERY, Visibility.INTERNAL)
internal_mutation = _decorator("internal_mutation", Kind.MUTATION, Visibility.INTERNAL)
internal_action = _decorator("internal_action", Kind.ACTION, Visibility.INTERNAL)


def http_action(handler: Handler) -> RegisteredFunction:
    """Make this function a handler of HTTP requests: ``(ctx, request) -> Response``."""
    # Only a route leads to it, so to a client that calls functions by name it is not there.
    return RegisteredFunction(handler, Kind.HTTP_ACTION, Visibility.INTERNAL, None, None)
