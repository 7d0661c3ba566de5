"""May this deployment connect there?

A deployment is open (it may connect wherever the server may), or it has a list of hosts: those and no others; with an
empty list it is closed. The operator chooses. Pure, like the rules, and asked before them.

Rules
1. A name is judged before it is resolved, at the first request and at every redirect. What a listed name leads to is
   still judged by the rules: a policy only takes away.
2. An entry is ``host``, ``*.example.com`` (everything below, at any depth, and not ``example.com``) or an address, each
   with an optional ``:port``. Without one it means every port that the rules allow.
3. The operator's exceptions (`WARREN_EGRESS_ALLOW`) go before the address rules and never before a list: they say what
   this server may reach, a list says what one deployment wants to.
4. An address is connected to without a name only where a list holds that address.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

import ada_url

from runtime import limits
from runtime.egress.rules import Destination, NotAllowed, Rules, is_host_name, unwrapped

_ENTRY = re.compile(r"(?P<below>\*\.)?(?P<host>\[[0-9a-fA-F:.]+\]|[^\[\]:/@?#\\%*\s]+)(?::(?P<port>[0-9]{1,5}))?\Z")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a list: a host in lower case (without brackets), or everything ``below`` it; a port or any."""

    host: str
    below: bool = False
    port: int | None = None

    def covers(self, host: str, port: int) -> bool:
        """Whether it means this host at this port."""
        if self.port is not None and self.port != port:
            return False
        return host.endswith(f".{self.host}") if self.below else host == self.host

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return ("*." if self.below else "") + host + ("" if self.port is None else f":{self.port}")


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """Where one deployment may connect to; ``allow`` is ``None`` where it is open."""

    allow: tuple[Entry, ...] | None = None

    def check(self, host: str, port: int) -> None:
        """Raise `NotAllowed` unless this host (a name, or an address as text) is one of the deployment's."""
        if self.allow is None:
            return
        name = _canonical(host)
        if not any(entry.covers(name, port) for entry in self.allow):
            has = f"a list of {len(self.allow)} hosts without it" if self.allow else "closed"
            raise NotAllowed(
                f"{host[:100]}, port {port}, is not where this deployment may connect: its egress policy is {has}; "
                "only the operator can change it (warren deployments egress)"
            )

    def texts(self) -> list[str] | None:
        """The list as it is kept and shown; ``None`` where it is open."""
        return None if self.allow is None else [str(entry) for entry in self.allow]


OPEN = EgressPolicy()
CLOSED = EgressPolicy(())


def parse_policy(allow: Sequence[str] | None) -> EgressPolicy:
    """Read a list of entries, ``None`` for an open policy; raise `ValueError` naming what is no entry."""
    if allow is None:
        return OPEN
    if len(allow) > limits.EGRESS_ENTRIES:
        raise ValueError(f"{len(allow)} entries, limit EGRESS_ENTRIES is {int(limits.EGRESS_ENTRIES)}")
    return EgressPolicy(tuple(dict.fromkeys(map(_entry, allow))))


def judge(policy: EgressPolicy, rules: Rules, host: str | None, port: int, addresses: Sequence[str]) -> Sequence[str]:
    """Those of the addresses that the deployment may be connected to at this port; raise `NotAllowed`.

    ``host`` is the name they were resolved from, ``None`` where there was none: each address is then judged by itself.
    """
    if not addresses:
        raise NotAllowed("there is no address to connect to")
    for name in addresses if host is None else (host,):
        policy.check(name, port)
    # What will be spoken there is not known here, so nobody asks for TLS.
    return rules.permitted(Destination("https", addresses[0] if host is None else host, port, "/"), addresses)


def _entry(text: str) -> Entry:
    read = _ENTRY.match(text.strip())
    host = None if read is None else _host(read["host"])
    if read is None or host is None or (read["below"] and _is_address(host)):
        raise ValueError(
            f"{text[:80]!r} is no entry: write api.example.com, *.example.com or an address, with :port if only one"
        )
    port = None if read["port"] is None else int(read["port"])
    if port is not None and not 1 <= port <= 65_535:
        raise ValueError(f"{text[:80]!r} has no port: ports are 1 to 65535")
    return Entry(host, bool(read["below"]), port)


def _host(text: str) -> str | None:
    # The parser that reads the URLs of requests reads these too, so both write a host the same way.
    try:
        host = ada_url.URL(f"https://{text}/").hostname.strip("[]").rstrip(".")
    except ValueError:
        return None
    if _is_address(host):
        return _canonical(host)
    return host if is_host_name(host) else None


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _canonical(host: str) -> str:
    try:
        return str(unwrapped(ip_address(host.strip("[]"))))
    except ValueError:
        return host.lower().rstrip(".")
