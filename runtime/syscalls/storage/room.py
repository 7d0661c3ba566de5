"""How many files are open?

Each that is written or read holds a descriptor of this server.

Rules
1. Functions and clients are counted apart: downloads that nobody takes do not keep a function from its files.
2. Who is let in leaves once.
"""

from collections import Counter
from collections.abc import Callable

from runtime import limits
from runtime.limits import Limit
from runtime.names import DeploymentName


class NoRoom(Exception):
    """Too many files are open; the message names the limit. ``together`` when it is everybody's."""

    def __init__(self, message: str, together: bool) -> None:
        super().__init__(message)
        self.together = together


class Room:
    """The files that are open on this server."""

    def __init__(self) -> None:
        self.calls: Counter[DeploymentName] = Counter()
        self.transfers: Counter[DeploymentName] = Counter()

    def for_call(self, name: DeploymentName) -> Callable[[], None]:
        """Let a function open one; what is returned is called when it is closed. Raises `NoRoom`."""
        return self._enter(self.calls, name, limits.FILES_OPEN, "FILES_OPEN")

    def for_transfer(self, name: DeploymentName) -> Callable[[], None]:
        """The same for a client that uploads or downloads."""
        return self._enter(self.transfers, name, limits.FILE_TRANSFERS, "FILE_TRANSFERS")

    def _enter(
        self, places: Counter[DeploymentName], name: DeploymentName, most: Limit, limit: str
    ) -> Callable[[], None]:
        if places[name] >= most:
            raise NoRoom(f"{places[name]} {most.unit} of this deployment are open, limit {limit} is {int(most)}", False)
        together = self.calls.total() + self.transfers.total()
        if together >= limits.FILES_TOGETHER:
            what = f"{together} files are open on this server, limit FILES_TOGETHER is {int(limits.FILES_TOGETHER)}"
            raise NoRoom(what, True)
        places[name] += 1
        inside = True

        def leave() -> None:
            nonlocal inside
            if inside:
                inside = False
                places[name] -= 1
                if not places[name]:
                    del places[name]

        return leave
