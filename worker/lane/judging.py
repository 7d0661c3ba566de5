"""May a Node-style action connect there?

What the lane's network asks before it does anything. Who knows a deployment's policy is `node_style.egress`; here is
only who lets nobody go anywhere.

Rules
1. A name is judged before it is asked for, and its addresses before they are told: the questions alone could carry
   secrets out, and the answers the plan of somebody's network in.
2. An address is judged again when it is connected to, with the name by which it was found, if there was one.
"""

from collections.abc import Sequence
from typing import Protocol

from runtime.egress.rules import NotAllowed


class Judge(Protocol):
    """Decides where one deployment's actions may connect. Both questions raise `NotAllowed`, in a tenant's words."""

    def check_name(self, host: str) -> None:
        """Whether this name may be asked for."""

    def permitted(self, host: str | None, addresses: Sequence[str], port: int | None) -> Sequence[str]:
        """Those of a host's addresses that may be connected to; ``None`` for a port: on any."""

    def refused(self, reason: str) -> None:
        """Take note of a connection, or a question, that was refused."""


class NoNetwork:
    """Lets nobody go anywhere."""

    def check_name(self, host: str) -> None:
        """Whether this name may be asked for: none may."""
        raise NotAllowed("there is no network here")

    def permitted(self, host: str | None, addresses: Sequence[str], port: int | None) -> Sequence[str]:
        """Those of a host's addresses that may be connected to: none."""
        raise NotAllowed("there is no network here")

    def refused(self, reason: str) -> None:
        """Take note of a connection that was refused: there is nobody to tell."""
