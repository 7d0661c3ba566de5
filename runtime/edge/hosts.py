"""Which deployment is this request for?

Pure: reads the Host header (or what a listed proxy says about it) and nothing else; whether a deployment of that name
exists is the directory's business. The same answer is remembered for the next request with the same header.

Rules
1. Exactly one label in front of the site domain or the cloud domain. Case, port and one trailing dot do not matter.
2. A Host header that is missing, doubled or malformed is a `BadRequest` (RFC 9112 §3.2).
3. ``X-Forwarded-*`` is believed only from peers that the operator lists, and of several values the last one, because
   the nearest proxy wrote it.
"""

import re
from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from runtime.errors import BadRequest
from runtime.names import DeploymentName, InvalidName, parse_deployment_name

Scope = MutableMapping[str, Any]
Network = IPv4Network | IPv6Network

_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,255})(?::([0-9]{0,5}))?\Z")
_REMEMBERED = 4_096


class Listener(Enum):
    """Which port the request came in by."""

    MAIN = auto()
    SITE = auto()  # every host is the default deployment's site, except those that name another


class Face(Enum):
    """Which of our faces a host shows."""

    SITE = auto()  # a deployment's HTTP actions
    FUNCTIONS = auto()  # a deployment's function API
    NOWHERE = auto()  # looks like a deployment's host, and cannot be one
    ELSEWHERE = auto()  # a custom domain, or the control plane


@dataclass(frozen=True, slots=True)
class Addresses:
    """What the operator chose about names: the two domains, the default deployment, the proxies to believe."""

    site_domain: str
    cloud_domain: str
    default: DeploymentName | None = None
    proxies: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a Host header leads.

    ``domain`` is the host in lower case without port, ``label`` what stands in front of our domain in it; ``origins``
    are the beginnings of a request's URL, by scheme.
    """

    face: Face
    label: str
    name: DeploymentName | None
    domain: str
    origins: dict[str, str]

    @property
    def may_be_custom(self) -> bool:
        """Whether somebody could have registered this host as their own domain."""
        return self.face is Face.ELSEWHERE and "." in self.domain and not self.domain.replace(".", "").isdigit()


class Hosts:
    """Turns Host headers into places, for one listener."""

    def __init__(self, addresses: Addresses, listener: Listener) -> None:
        self._addresses = addresses
        self._listener = listener
        self._site = "." + addresses.site_domain.lower().strip(".")
        self._cloud = "." + addresses.cloud_domain.lower().strip(".")
        self._known: dict[bytes, Place] = {}
        self._peers: dict[str, bool] = {}

    def find(self, headers: Iterable[tuple[bytes, bytes]]) -> Place:
        """Where a request with these headers (names in lower case) is meant to go."""
        host: bytes | None = None
        for name, value in headers:
            if name == b"host":
                if host is not None:
                    raise BadRequest("the request has more than one Host header; send exactly one")
                host = value
        if host is None:
            raise BadRequest("the request has no Host header; send the host you are calling")
        return self._known.get(host) or self._remember(host)

    def believe(self, scope: Scope) -> Scope:
        """The request as the client sent it to the proxy in front of us, if that proxy is a listed one."""
        if not self._addresses.proxies or not self._is_proxy(scope["client"]):
            return scope
        forwarded: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            if name.startswith(b"x-forwarded-"):
                parts = (part.strip() for part in value.decode("latin-1").split(","))
                forwarded.setdefault(name, []).extend(part for part in parts if part)
        return {**scope, **self._told(scope, forwarded)}

    def _told(self, scope: Scope, forwarded: dict[bytes, list[str]]) -> dict[str, Any]:
        told: dict[str, Any] = {}
        protocol = forwarded.get(b"x-forwarded-proto")
        if protocol and protocol[-1].lower() in ("http", "https"):
            told["scheme"] = protocol[-1].lower()
        host = forwarded.get(b"x-forwarded-host")
        if host:
            kept = [header for header in scope["headers"] if header[0] != b"host"]
            told["headers"] = [(b"host", host[-1].encode("latin-1")), *kept]
        # Walk towards the client: the first address that is no proxy of ours is where the request came from.
        for address in reversed(forwarded.get(b"x-forwarded-for", [])):
            told["client"] = (address, 0)
            if not self._is_proxy((address, 0)):
                break
        return told

    def _is_proxy(self, peer: Sequence[Any] | None) -> bool:
        address = str(peer[0]) if peer else ""
        known = self._peers.get(address)
        if known is None:
            if len(self._peers) >= _REMEMBERED:
                self._peers.clear()
            known = self._peers[address] = self._is_listed(address)
        return known

    def _is_listed(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False  # a Unix socket, or an address that a client made up
        return any(parsed in network for network in self._addresses.proxies)

    def _remember(self, host: bytes) -> Place:
        found = self._read(host)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()  # somebody is trying names; a few look-ups more are all that it costs
        self._known[host] = found
        return found

    def _read(self, host: bytes) -> Place:
        match = _HOST.match(host)
        if match is None:
            raise BadRequest(f"the Host header {host[:80].decode('latin-1')!r} is not a host name")
        domain = match[1].decode("ascii").lower().removesuffix(".")
        port = int(match[2] or 0)
        origins = {scheme: f"{scheme}://{domain}" for scheme in ("http", "https")}
        for scheme, usual in (("http", 80), ("https", 443)):
            if port and port != usual:
                origins[scheme] += f":{port}"
        face, label = self._face(domain)
        if face is Face.ELSEWHERE:
            return Place(face, label, None, domain, origins)
        try:
            return Place(face, label, parse_deployment_name(label), domain, origins)
        except InvalidName:
            return Place(Face.NOWHERE, label, None, domain, origins)

    def _face(self, domain: str) -> tuple[Face, str]:
        if domain.endswith(self._site):
            return Face.SITE, domain.removesuffix(self._site)
        if self._listener is Listener.MAIN and domain.endswith(self._cloud):
            return Face.FUNCTIONS, domain.removesuffix(self._cloud)
        return Face.ELSEWHERE, ""
