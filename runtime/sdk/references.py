"""Which function is meant?

``api.admin.users.purge`` and ``internal.admin.users.purge`` are spellings of the path ``admin/users:purge``. Nothing is
looked up here: the host knows whether there is such a function, and of which kind.
"""

from typing import Any

from runtime.names import InvalidName, parse_function_path


class Reference:
    """A function's name under way: every attribute adds one part."""

    __slots__ = ("_parts", "_root")

    def __init__(self, root: str, parts: tuple[str, ...] = ()) -> None:
        self._root = root
        self._parts = parts

    def __getattr__(self, part: str) -> "Reference":
        if part.startswith("_"):
            raise AttributeError(f"{self!r} has no {part!r}: names that begin with an underscore are not registered")
        return Reference(self._root, (*self._parts, part))

    def __repr__(self) -> str:
        return ".".join((self._root, *self._parts))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and self._parts == other._parts

    def __hash__(self) -> int:
        return hash(self._parts)


api = Reference("api")
internal = Reference("internal")


def function_path(ref: Any) -> str:
    """Turn what a tenant passed as a function into its path; raise `TypeError` or `ValueError` when it is none."""
    if isinstance(ref, Reference):
        if len(ref._parts) < 2:
            raise ValueError(f"{ref!r} names no function: write {ref._root}.module.function")
        return f"{'/'.join(ref._parts[:-1])}:{ref._parts[-1]}"
    if isinstance(ref, str):
        try:
            return str(parse_function_path(str(ref)))
        except InvalidName as error:
            raise ValueError(str(error)) from None
    path = getattr(ref, "path", None)
    if isinstance(path, str):
        if not path:
            raise ValueError("this function has no path: give it a public name at the top level of a module")
        return path
    raise TypeError(
        "a function is named by api.module.name, internal.module.name, 'module:name' or itself, "
        f"not by {type(ref).__name__}"
    )
