"""May a Node-style action connect there?

What the lane's network asks before it does anything (`Judge`), and the judge that knows a deployment's egress policy
and the rules of the house (`PolicyJudge`). Pure, but for the refusals it is told of.

Rules
1. A name is judged before it is asked for, and its addresses before they are told: the questions alone could carry
   secrets out, and the answers the plan of somebody's network in.
2. An address is judged again when it is connected to, with the name by which it was found, if there was one.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from runtime.egress.policy import OPEN, EgressPolicy, judge
from runtime.egress.rules import NotAllowed, Rules

_USUAL_PORT = 443


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


class PolicyJudge:
    """Lets a deployment go where its egress policy and the rules of the house both let it go."""

    def __init__(self, policy: EgressPolicy, rules: Rules, say: Callable[[str], None]) -> None:
        self._policy = policy
        self._rules = rules
        self._say = say

    def check_name(self, host: str) -> None:
        """Whether this name may be asked for: it stands in the list, with whatever port."""
        self._policy.check(host, self._a_port_of(host))

    def permitted(self, host: str | None, addresses: Sequence[str], port: int | None) -> Sequence[str]:
        """Those of a host's addresses that may be connected to."""
        chosen = self._a_port_of(host or "") if port is None else port
        return judge(self._policy, self._rules, host, chosen, addresses)

    def refused(self, reason: str) -> None:
        """Take note of a connection, or a question, that was refused."""
        self._say(reason)

    def _a_port_of(self, host: str) -> int:
        """A port at which the list has this host, if it has it."""
        ports = (entry.port or _USUAL_PORT for entry in self._policy.allow or ())
        return next((port for port in ports if self._covers(host, port)), _USUAL_PORT)

    def _covers(self, host: str, port: int) -> bool:
        return any(entry.covers(host, port) for entry in self._policy.allow or ())


class OpenJudge(PolicyJudge):
    """Lets a deployment go wherever the rules of the house let anybody go."""

    def __init__(self, rules: Rules, say: Callable[[str], None]) -> None:
        super().__init__(OPEN, rules, say)
