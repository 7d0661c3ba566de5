"""May the server connect there because a tenant, or somebody a tenant named, says so?

Pure: reads a URL once and judges addresses. Whoever connects resolves the name itself, asks here about every address,
and connects to the address that was judged and to no other: a name may lead elsewhere the next time it is asked for.

Rules
1. What is allowed is listed, not what is refused: IPv6 is 2000::/3 without its special parts; IPv4 is everything that
   no registry calls special. ``ipaddress.is_global`` differs between versions of Python and is no policy.
2. One parser (WHATWG) reads a URL, and what it read is what is connected to. No user name, no control characters.
3. Every address that a name has must be allowed, or none is: who mixes them means no good. Where the operator lists one
   of them, that one is meant.
4. The operator's exceptions (`WARREN_EGRESS_ALLOW`) go before all of it: a listed host or address may be reached on any
   port and without TLS. The server's own ports stay closed all the same.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import ada_url

from runtime import limits

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_HOST = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?)*\Z")
_USUAL_PORTS = {"http": 80, "https": 443}

# What IANA's registries call special, and 192.88.99.0/24 (6to4 relays), and everything from multicast upwards.
_REFUSED_IPV4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    )
)
_ALLOWED_IPV6 = IPv6Network("2000::/3")
# Teredo and its neighbours, documentation, 6to4 (any IPv4 address hides in it), documentation again.
_REFUSED_IPV6 = tuple(IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))


class Plain(Enum):
    """What becomes of URLs without TLS, to hosts that the operator does not list."""

    REFUSED = auto()  # what is fetched is believed
    ALLOWED = auto()


class NotAllowed(Exception):
    """The server does not connect there; the message says why, in words that a tenant may read."""


@dataclass(frozen=True, slots=True)
class Exceptions:
    """What the operator allows beyond the rules: host names (lower case), and addresses as networks."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a URL leads: read once, and used as it was read. ``host`` has no brackets, ``target`` begins with ``/``."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """Host and port as they stand in a Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _USUAL_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """The URL again, for a person."""
        return f"{self.scheme}://{self.authority}{self.target}"


def parse_exceptions(text: str) -> Exceptions:
    """Read hosts, addresses and CIDR ranges with commas between them; raise `ValueError` naming what is none."""
    hosts: set[str] = set()
    networks: list[Network] = []
    for part in (part.strip() for part in text.split(",")):
        if not part:
            continue
        try:
            networks.append(ip_network(part.strip("[]"), strict=False))
        except ValueError:
            host = part.lower().rstrip(".")
            # Digits and dots alone, or a slash, were meant as addresses.
            if not is_host_name(host):
                raise ValueError(
                    f"hosts, addresses or CIDR ranges with commas between them; {part[:80]!r} is none of these"
                ) from None
            hosts.add(host)
    return Exceptions(frozenset(hosts), tuple(networks))


def destination(url: str, longest: int = limits.EGRESS_URL) -> Destination:
    """Read a URL; raise `NotAllowed` when it is none that anybody may be sent to."""
    if len(url) > longest or not url.isprintable() or " " in url:
        raise NotAllowed(f"{url[:80]!r} is no URL: at most {int(longest)} printable characters without spaces")
    try:
        read = ada_url.URL(url)
    except ValueError:
        raise NotAllowed(f"{url[:200]!r} is no URL; write it as in https://example.org/path") from None
    scheme = read.protocol.rstrip(":")
    if scheme not in _USUAL_PORTS or not read.hostname:
        raise NotAllowed(f"{url[:200]!r} is not reached over HTTP: use https://")
    if read.username or read.password:
        raise NotAllowed("a URL with a user name or password in it is not connected to")
    host = read.hostname.strip("[]").rstrip(".")
    if not host:
        raise NotAllowed(f"{url[:200]!r} names no host")
    port = int(read.port) if read.port else _USUAL_PORTS[scheme]
    return Destination(scheme, host, port, read.pathname + read.search)


class Rules:
    """The rules with the operator's exceptions. ``own_ports`` are those that this server's own services listen on."""

    def __init__(
        self, exceptions: Exceptions, plain: Plain = Plain.REFUSED, own_ports: frozenset[int] = frozenset()
    ) -> None:
        self._exceptions = exceptions
        self._plain = plain
        self.own_ports = own_ports

    def check_url(self, url: str, longest: int = limits.EGRESS_URL) -> Destination:
        """Where this URL leads, as far as can be said before its name is resolved; raise `NotAllowed`."""
        where = destination(url, longest)
        if where.host in self._exceptions.hosts:
            return where
        literal = _literal(where.host)
        if literal is not None:
            self.permitted(where, [where.host])
        elif not self._exceptions.networks:
            # A name may lead to a listed address; with none listed there is nothing to wait for.
            self._check_manner(where)
        return where

    def permitted(self, where: Destination, addresses: Sequence[str]) -> Sequence[str]:
        """Those of the addresses to which the host resolved that may be connected to; raise `NotAllowed`."""
        for address in addresses:
            self.check_not_own(address, where.port)
        if where.host in self._exceptions.hosts:
            return addresses
        listed = [address for address in addresses if self._is_listed(address)]
        if listed:
            return listed
        for address in addresses:
            found = _literal(address)
            if found is None or not is_public(found):
                # Which address that is would tell a stranger how the network is laid out.
                raise NotAllowed(
                    f"{where.host[:100]} is at an address that is private, local or reserved; only the operator can "
                    "allow it (WARREN_EGRESS_ALLOW)"
                )
        self._check_manner(where)
        return addresses

    def check_not_own(self, address: str, port: int, local: str | None = None) -> None:
        """Raise `NotAllowed` where this is the server itself; ``local`` is our own end of a connection to it."""
        if port not in self.own_ports:
            return
        found = _literal(address)
        if found is not None and (
            (one := unwrapped(found)).is_loopback
            or one.is_unspecified
            or (local is not None and found == _literal(local))
        ):
            raise NotAllowed(f"port {port} is one of this server's own: call functions with ctx.run_*")

    def _is_listed(self, address: str) -> bool:
        found = _literal(address)
        return found is not None and any(unwrapped(found) in network for network in self._exceptions.networks)

    def _check_manner(self, where: Destination) -> None:
        if where.scheme != "https" and self._plain is Plain.REFUSED:
            raise NotAllowed(f"{where.shown[:200]} is not encrypted: use https:// (WARREN_EGRESS_ALLOW has exceptions)")
        # The ports below are those of the system's own services; some of them can be talked to in HTTP by mistake.
        if where.port < 1024 and where.port not in _USUAL_PORTS.values():
            raise NotAllowed(f"port {where.port} of {where.host} is not connected to: use 443, or one above 1023")


def is_public(address: Address) -> bool:
    """Whether this is an address of the Internet, and nothing special."""
    address = unwrapped(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_IPV4)
    return (
        address.scope_id is None
        and address in _ALLOWED_IPV6
        and not any(address in network for network in _REFUSED_IPV6)
    )


def is_host_name(text: str) -> bool:
    """Whether this is a name that can be resolved: lower case, and neither digits and dots alone nor anything odd."""
    return bool(_HOST.match(text)) and len(text) <= 253 and bool(re.search("[a-z]", text.rpartition(".")[2]))


def _literal(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 one is only another spelling of; any other as it is."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
