"""Which environment variables does the deployment have?

A read-only mapping that tenants import. The guest replaces its content when the host says so: who holds ``env`` always
sees the present values. Knows nothing of the process's own environment, which is empty.
"""

from collections.abc import Iterator, Mapping


class Environment(Mapping[str, str]):
    """The deployment's environment variables, to be read and not written."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        try:
            return self._values[name]
        except KeyError:
            raise KeyError(f"{name} is not set; set it with: warren env set {name}=…") from None

    def get(self, name: str, default: object = None) -> object:  # type: ignore[override]  # Mapping's overloads say no more
        """Read one variable, or ``default`` when it is not set."""
        return self._values.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        # Values may be secrets, and a log is the wrong place for them.
        return f"env({', '.join(sorted(self._values))})"


env = Environment()


def replace_environment(values: Mapping[str, str]) -> None:
    """Let ``env`` hold exactly these variables from now on."""
    env._values = dict(values)
