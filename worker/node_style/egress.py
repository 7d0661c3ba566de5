"""May the Node-style actions of this deployment connect there?

The lane's `Judge` with a deployment's own policy: what `fetch` may reach, a socket may reach, and nothing else.

Rules
1. The policy is the one of now: what the operator changes holds for the next connection of a process that runs.
2. Until a policy is known there is none to rely on: nothing may be connected to.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress

from runtime.egress.policy import CLOSED, EgressPolicy, judge
from runtime.egress.rules import Destination, NotAllowed, Rules

_USUAL = 443


class PolicyJudge:
    """Decides for one deployment. ``policy`` is what is known of it now, ``say`` writes into its log."""

    def __init__(self, rules: Rules, policy: Callable[[], EgressPolicy | None], say: Callable[[str], None]) -> None:
        self._rules = rules
        self._policy = policy
        self._known = CLOSED
        self._say = say

    def check_name(self, host: str) -> None:
        """Whether this name may be asked for: if it may be connected to at any port."""
        policy = self._now()
        for entry in policy.allow or ():
            if entry.port is not None:
                with suppress(NotAllowed):
                    return policy.check(host, entry.port)
        policy.check(host, _USUAL)

    def permitted(self, host: str | None, addresses: Sequence[str], port: int | None) -> Sequence[str]:
        """Those of a host's addresses that may be connected to; ``None`` for a port: on any."""
        if port is not None:
            return judge(self._now(), self._rules, host, port, addresses)
        name = host if host is not None else addresses[0]
        self.check_name(name)
        return self._rules.permitted(Destination("https", name, _USUAL, "/"), addresses)

    def refused(self, reason: str) -> None:
        """Take note of a connection, or a question, that was refused."""
        self._say(reason)

    def _now(self) -> EgressPolicy:
        # While a deployment is loaded anew, what was known of it holds on.
        found = self._policy()
        if found is not None:
            self._known = found
        return self._known
