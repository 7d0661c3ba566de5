"""What may the operator choose, and what did they choose?

Every ``WARREN_*`` variable of the server with its default and its reason; the only reader of ``os.environ``. Read once,
in the composition root, and passed on by constructor. `docs/settings.md` is made from this page.

Rules
1. With no variable at all a server works, on this machine only.
2. What cannot be read is an `InvalidSetting` that names the variable, what it holds and what it may hold.
3. No secret has a default. A secret may stand in a file: ``WARREN_X_FILE`` holds its path. No secret is ever printed.
4. What protects the wall is a limit (`limits.py`) and cannot be chosen.
"""

# ruff: noqa: RUF009  # _setting makes the field that the rule asks for

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from runtime.egress.rules import Exceptions, parse_exceptions
from runtime.names import DeploymentName, InvalidName, parse_deployment_name

Network = IPv4Network | IPv6Network
T = TypeVar("T")

_DOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*\Z")
_USUAL_PORTS = {"http": 80, "https": 443}


_POSTGRESQL = 5432
_REDIS = 6379


class InvalidSetting(ValueError):
    """A variable holds what it may not; the message names it."""


def _setting(read: Callable[[str], T], default: str | None, why: str, *, secret: bool = False) -> T:
    """Declare a setting: how its text is read, its default as text (``None``: unset), and why it is that."""
    metadata = {"read": read, "default": default, "why": why, "secret": secret}
    return cast(T, field(default=cast(Any, None), metadata=metadata, repr=not secret))


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(text)

    return read


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(" or ".join(choices))
        return text.lower()

    return read


def _domain(text: str) -> str:
    domain = text.lower().strip(".")
    if len(domain) > 190 or not _DOMAIN.match(domain):
        raise ValueError("a domain such as site.example.com")
    return domain


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError("addresses or CIDR ranges with commas between them, such as 10.0.0.0/8, ::1") from None


def _deployment(text: str) -> DeploymentName | None:
    try:
        return parse_deployment_name(text)
    except InvalidName as error:
        raise ValueError(f"a deployment name ({error})") from None


def _optional(read: Callable[[str], T]) -> Callable[[str], T | None]:
    return read


def _on_or_off(text: str) -> bool:
    return _one_of("on", "off")(text) == "on"


def _database(text: str) -> str:
    if not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("an address such as postgresql://user:password@host/database")
    return text


def _redis(text: str) -> str:
    if not text.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("an address such as redis://:password@host:6379/0, rediss://host or unix:///run/redis.sock")
    return text


_port = _whole(0, 65_535)


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting of one server process. Made by `read_settings`."""

    host: str = _setting(str, "127.0.0.1", "nobody but this machine reaches a server that nobody has thought about")
    port: int = _setting(_port, "3210", "the port that Convex's tools expect of a local backend")
    site_port: int = _setting(
        _port, "3211", "the second port, where the default deployment's site answers; unused without one"
    )
    data: Path = _setting(Path, "warren-data", "the directory for everything that must survive a restart")
    database_url: str | None = _setting(
        _optional(_database),
        None,
        "a PostgreSQL database for the registry and all documents, shared by every server that names it; without one "
        "they are SQLite files in the data directory",
        secret=True,
    )
    redis_url: str | None = _setting(
        _optional(_redis),
        None,
        "a Redis (or Valkey) server for the queue, shared by routers and workers; without one each server has its own",
        secret=True,
    )
    worker_threads: int = _setting(
        _whole(2, 1_000),
        "16",
        "jobs at once of one worker: a quarter of them shifts of scheduled functions, the others Node-style actions",
    )
    site_domain: str = _setting(_domain, "site.localhost", "<deployment>.<this> answers a deployment's HTTP actions")
    cloud_domain: str = _setting(_domain, "cloud.localhost", "<deployment>.<this> answers a deployment's function API")
    public_scheme: str = _setting(
        _one_of("http", "https"), "http", "how clients reach this server: https behind a proxy that speaks TLS"
    )
    public_port: int | None = _setting(
        _optional(_whole(1, 65_535)),
        None,
        "the port in the addresses given out; else 443 with https, and the port listened on with http",
    )
    default_deployment: DeploymentName | None = _setting(
        _deployment, None, "answers at a bare host, for resolvers that do not know *.localhost; production has none"
    )
    trusted_proxies: tuple[Network, ...] = _setting(
        _networks, "", "peers whose X-Forwarded-* is believed; from anybody else those headers are only text"
    )
    admin_key: str | None = _setting(
        _optional(str),
        None,
        "may do everything; without one the server makes one and keeps it in its data",
        secret=True,
    )
    error_details: str = _setting(
        _one_of("hide", "show"),
        "hide",
        "whether clients see how a function failed; warren dev shows them",
    )
    isolates: int = _setting(
        _whole(1, 100_000), "1024", "processes at most, of all deployments together; about 3 MiB each"
    )
    isolates_per_deployment: int = _setting(
        _whole(1, 1_000), "4", "processes at most for one deployment; more than twice the cores only cost memory"
    )
    spares: int = _setting(_whole(0, 100), "2", "locked-down processes kept ready, so that a first call need not wait")
    node_processes: int = _setting(
        _whole(1, 10_000),
        "16",
        "processes of Node-style actions at most, of all deployments together; 50 MiB each and up",
    )
    node_processes_per_version: int = _setting(
        _whole(1, 1_000), "2", "processes at most for the Node-style actions of one version in one language"
    )
    language_layer: bool = _setting(
        _on_or_off, "on", "the import rules in front of the kernel's wall; off only to test that the wall holds alone"
    )
    egress_allow: Exceptions = _setting(
        parse_exceptions,
        "",
        "private and local hosts, addresses or CIDR ranges that tenants may send this server to: identity providers "
        "and services in the same network; everything else inside is refused",
    )
    package_space: int = _setting(
        _whole(1, 1_048_576),
        "8192",
        "MiB on a worker's disk for the packages of Node-style modules; past it those go that were not used for "
        "longest, never one in use",
    )
    log_level: str = _setting(
        _one_of("debug", "info", "warning", "error"), "info", "how much the server says of itself on standard error"
    )

    def site_url(self, name: DeploymentName) -> str:
        """Where a deployment's HTTP actions are reached."""
        if name == self.default_deployment:
            return self._address(self._reachable_host(), self.site_port)
        return self._address(f"{name}.{self.site_domain}", self._public_port())

    def cloud_url(self, name: DeploymentName) -> str:
        """Where a deployment's function API is reached."""
        if name == self.default_deployment:
            return self._address(self._reachable_host(), self._public_port())
        return self._address(f"{name}.{self.cloud_domain}", self._public_port())

    def own_ports(self) -> frozenset[int]:
        """The ports of this machine where its own services may listen: no tenant is ever connected to them."""
        ports = {self.port, self.site_port}
        if self.database_url is not None:
            ports.add(_port_of(self.database_url) or _POSTGRESQL)
        if self.redis_url is not None and not self.redis_url.startswith("unix:"):
            ports.add(_port_of(self.redis_url) or _REDIS)
        return frozenset(ports)

    def _public_port(self) -> int:
        return self.public_port or (443 if self.public_scheme == "https" else self.port)

    def _reachable_host(self) -> str:
        if self.host in ("0.0.0.0", "::", ""):
            return "127.0.0.1"
        return f"[{self.host}]" if ":" in self.host else self.host

    def _address(self, host: str, port: int) -> str:
        usual = port == _USUAL_PORTS[self.public_scheme]
        return f"{self.public_scheme}://{host}" + ("" if usual else f":{port}")


# What the commands of `warren` read that speak to a server as its clients. Their command line reads them itself.
CLIENT_VARIABLES = (
    ("WARREN_URL", "the server that the commands speak to"),
    ("WARREN_DEPLOYMENT", "the deployment that they are about; else the one of the deploy key"),
    ("WARREN_DEPLOY_KEY", "a key of that deployment; `WARREN_DEPLOY_KEY_FILE` reads it from a file"),
    ("WARREN_ADMIN_KEY", "the operator's key; `WARREN_ADMIN_KEY_FILE` reads it from a file"),
)


# What uv and npm are given of the server's environment when they resolve and install packages. Nothing else of it.
PACKAGE_VARIABLES = (
    (
        "UV_DEFAULT_INDEX, UV_INDEX_URL",
        "the package index, instead of the public one; `PIP_INDEX_URL` if neither is set",
    ),
    ("UV_INDEX, UV_EXTRA_INDEX_URL", "more indexes; `PIP_EXTRA_INDEX_URL` if neither is set"),
    ("UV_FIND_LINKS, UV_NO_INDEX", "wheels in a folder or on a page; no index at all"),
    ("UV_INDEX_STRATEGY, UV_EXCLUDE_NEWER", "which index is believed; nothing that is newer than this date"),
    ("UV_HTTP_TIMEOUT, UV_HTTP_RETRIES", "how patient uv is"),
    ("UV_SYSTEM_CERTS, UV_NATIVE_TLS, UV_INSECURE_HOST", "whom uv trusts"),
    ("NPM_CONFIG_REGISTRY, NPM_CONFIG_USERCONFIG", "the registry, instead of the public one; a file with its tokens"),
    ("NPM_CONFIG_CAFILE, NPM_CONFIG_STRICT_SSL, NODE_EXTRA_CA_CERTS", "whom npm trusts"),
    ("SSL_CERT_FILE, SSL_CERT_DIR", "certificates that both trust; `PIP_CERT` if no file is set"),
    ("HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY", "proxies, in capitals or not"),
)
_PIP_NAMES = (
    ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    ("PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"),
    ("PIP_CERT", "SSL_CERT_FILE", "SSL_CERT_FILE"),
)


def package_variables(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """What uv and npm are given of the environment: `PACKAGE_VARIABLES`, each by the name that they know."""
    given = os.environ if environment is None else environment
    names = {name for row, _ in PACKAGE_VARIABLES for name in row.split(", ")}
    found = {name: value for name, value in given.items() if name.upper() in names and value}
    for pip, name, other in _PIP_NAMES:
        if given.get(pip) and not found.keys() & {name, other}:
            found[name] = given[pip]
    return found


def read_settings(chosen: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read every setting; ``chosen`` (by field name, as the command line gave it) goes before the environment."""
    given = os.environ if environment is None else environment
    picked = dict(chosen or {})
    read: dict[str, Any] = {}
    for declared in fields(Settings):
        read[declared.name] = _read(declared, picked.pop(declared.name, None), given)
    if picked:
        raise InvalidSetting(f"there is no setting {sorted(picked)[0]!r}")
    settings = Settings(**read)
    if settings.site_domain == settings.cloud_domain:
        raise InvalidSetting(
            f"WARREN_SITE_DOMAIN and WARREN_CLOUD_DOMAIN are both {settings.site_domain!r}; they must differ"
        )
    return settings


def variable(name: str) -> str:
    """The environment variable of this field."""
    return f"WARREN_{name.upper()}"


def document() -> str:
    """The page `docs/settings.md`."""
    lines = [
        "# Settings",
        "",
        "Read once, when a server starts, from its environment. An option of the command line goes before it.",
        "An empty variable counts as unset. What protects the wall cannot be chosen: see [limits](limits.md).",
        "",
        "| variable | default | why |",
        "|---|---|---|",
    ]
    for declared in fields(Settings):
        about = declared.metadata
        default = f"`{about['default']}`" if about["default"] else "none"
        file = f"; `{variable(declared.name)}_FILE` reads it from a file" if about["secret"] else ""
        lines.append(f"| `{variable(declared.name)}` | {default} | {_cell(about['why'])}{file} |")
    lines += ["", "## For the commands that speak to a server", "", "| variable | what it is |", "|---|---|"]
    lines += [f"| `{name}` | {_cell(what)} |" for name, what in CLIENT_VARIABLES]
    lines += [
        "",
        "## For uv and npm",
        "",
        "They install the [packages](packages.md) of Node-style modules on a worker, with an environment made from",
        "nothing. These variables of the server are passed on to them and no others. Configuration files are not read.",
        "",
        "| variables | what they are |",
        "|---|---|",
    ]
    lines += [f"| `{names.replace(', ', '`, `')}` | {_cell(what)} |" for names, what in PACKAGE_VARIABLES]
    return "\n".join([*lines, ""])


def _port_of(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        return None  # several hosts, each with its port: libpq reads such addresses, and nobody else


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _read(declared: "Field[Any]", chosen: str | None, environment: Mapping[str, str]) -> Any:
    name, about = variable(declared.name), declared.metadata
    text = chosen if chosen is not None else environment.get(name) or None
    if about["secret"]:
        text = _from_file(name, text, environment)
    if text is None:
        text = about["default"]
        if text is None:
            return None
    try:
        return about["read"](text)
    except ValueError as error:
        held = "what it holds" if about["secret"] else repr(text[:80])
        raise InvalidSetting(f"{name} cannot be {held}: it is {error}") from None


def _from_file(name: str, text: str | None, environment: Mapping[str, str]) -> str | None:
    path = environment.get(f"{name}_FILE")
    if not path:
        return text
    if text is not None:
        raise InvalidSetting(f"{name} and {name}_FILE are both set; keep one of them")
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InvalidSetting(f"{name}_FILE names the file {path!r}, which cannot be read: {reason}") from None
