"""How does a command reach a server, and what does a refusal look like?

An HTTP client of the control plane and of the function API, with the choices that every command shares. Knows nothing
of what a command prints when all goes well.

Rules
1. A refusal by the server, or no server at all, ends a command with code 1 and a sentence: what happened, what to do.
2. A key is sent to the address that was chosen and never followed to another one by a redirect.
3. What was not said comes from the environment, then from the ``.warren/local.json`` that ``warren dev`` keeps.
"""

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import IO, Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import quote, urlsplit

import click
import httpx

from control_plane.cli.screen import Screen

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_URL = "http://127.0.0.1:3210"
LOCAL = Path(".warren") / "local.json"
TIMEOUT = httpx.Timeout(60.0, connect=5.0)
PATIENT = httpx.Timeout(None, connect=5.0)
# A push whose packages are new has them installed before it is answered; the server gives up earlier than this.
PUSHING = httpx.Timeout(960.0, connect=5.0)


class Refused(click.ClickException):
    """The command cannot be done; ``problem`` is what the server said, ``bundle`` is where diagnostics find lines."""

    exit_code = 1

    def __init__(self, message: str, problem: dict[str, Any] | None = None, bundle: Path | None = None) -> None:
        super().__init__(message)
        self.problem = problem or {}
        self.bundle = bundle
        # Asked now: when click shows it, the command's context is gone.
        context = click.get_current_context(silent=True)
        self._json = bool(context and context.meta.get("warren.json"))

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it for whoever asked: a person or a program."""
        screen = Screen(json=self._json)
        if self._json:
            screen.document({"error": {"message": self.message, **self.problem}})
            return
        diagnostics = self.problem.get("diagnostics") or []
        screen.diagnostics(diagnostics, self.bundle)
        # What the server said in sum is the diagnostics once more.
        screen.complain("Refused; nothing was changed." if diagnostics else self.message)
        if self.problem.get("status", 0) >= httpx.codes.INTERNAL_SERVER_ERROR:
            screen.complain(f"request id {self.problem['request_id']}", "dim")


@dataclass(frozen=True)
class Target:
    """Which server, which deployment, which keys."""

    url: str
    deployment: str | None
    deploy_key: str | None = field(repr=False)
    admin_key: str | None = field(repr=False)

    @property
    def key(self) -> str | None:
        """The key to use: the deployment's own where it is the one asked for, else the operator's."""
        owner = (self.deploy_key or "").partition("|")[0]
        if self.deploy_key and (self.admin_key is None or owner == self.deployment):
            return self.deploy_key
        return self.admin_key


_PAGE = 200


class Session:
    """One command's conversation with a server, and its screen."""

    def __init__(self, target: Target, screen: Screen) -> None:
        self.target = target
        self.screen = screen
        self._client = httpx.Client(timeout=TIMEOUT, follow_redirects=False)

    def close(self) -> None:
        """End its connections."""
        self._client.close()

    @property
    def deployment(self) -> str:
        """The deployment that the command is about."""
        if self.target.deployment is None:
            raise Refused(
                "Which deployment? Set WARREN_DEPLOY_KEY (its key names it), or say --deployment NAME. "
                "In the folder of a running `warren dev` neither is needed."
            )
        return self.target.deployment

    def of_deployment(self, *parts: str) -> str:
        """A path of the control plane under the deployment."""
        return "/".join(["/v1/deployments", *(quote(part, safe="") for part in (self.deployment, *parts))])

    def call(self, method: str, path: str, **more: Any) -> Any:
        """Ask the control plane, with ``json=``, ``content=`` or ``params=``; the decoded answer, or `Refused`."""
        headers = {**self._headers(), **more.pop("headers", {})}
        with self._reaching():
            answer = self._client.request(method, self.target.url + path, headers=headers, **more)
        return decoded(answer)

    def pages(self, path: str, key: str, most: int | None, **asked: Any) -> tuple[list[dict[str, Any]], bool]:
        """The first ``most`` entries of a list that comes in pages (``None``: all of them), and whether there are
        more; ``key`` is what the answers call them. Parameters that are ``None`` are not sent."""
        shown: list[dict[str, Any]] = []
        cursor: str | None = None
        while most is None or len(shown) < most:
            wanted = {**asked, "limit": _PAGE if most is None else min(_PAGE, most - len(shown)), "cursor": cursor}
            page = self.call("GET", path, params={name: value for name, value in wanted.items() if value is not None})
            shown += page[key]
            cursor = page["cursor"]
            if cursor is None:
                break
        return shown, cursor is not None

    @contextmanager
    def stream(self, path: str, parameters: dict[str, str]) -> Iterator[Iterator[Any]]:
        """Ask the control plane for lines of JSON that come when they come."""
        headers = {**self._headers(), "accept": "application/x-ndjson"}
        with (
            self._reaching(),
            self._client.stream(
                "GET", self.target.url + path, params=parameters, headers=headers, timeout=PATIENT
            ) as answer,
        ):
            if not answer.is_success:
                answer.read()
                decoded(answer)
            yield (json.loads(line) for line in answer.iter_lines() if line.strip())

    @contextmanager
    def download(self, path: str) -> Iterator[httpx.Response]:
        """Ask the control plane for a file; its bytes are still to come."""
        with (
            self._reaching(),
            self._client.stream("GET", self.target.url + path, headers=self._headers(), timeout=PATIENT) as answer,
        ):
            if not answer.is_success:
                answer.read()
                decoded(answer)
            yield answer

    def call_function(self, path: str, args: dict[str, Any]) -> dict[str, Any]:
        """Call a function of the deployment as its administrator; the answer of the function API."""
        base, headers = self.target.url, dict[str, str]()
        if self.target.deployment is not None:
            base, headers = self._cloud()
        if self.target.key:
            headers["authorization"] = f"Convex {self.target.key}"
        body = {"path": path, "args": args, "format": "json"}
        with self._reaching():
            answer = self._client.post(base + "/api/function", json=body, headers=headers, timeout=PATIENT)
        if answer.status_code == httpx.codes.NOT_FOUND and _is_the_control_plane(answer):
            raise Refused(
                f"What answers at {base} is a control plane alone, and functions are called at a router: "
                "set WARREN_URL to the proxy in front of both."
            )
        found: dict[str, Any] = decoded(answer)
        return found

    def _cloud(self) -> tuple[str, dict[str, str]]:
        """Where the function API of the deployment is, and the Host to say there."""
        cloud = str(self.call("GET", self.of_deployment())["cloud_url"])
        if _is_local(self.target.url):
            # Names under localhost are known to few resolvers: the address that was reached is the right one.
            return self.target.url, {"host": urlsplit(cloud).netloc}
        return cloud.rstrip("/"), {}

    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.target.key}"} if self.target.key else {}

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError:
            raise Refused(
                f"Nothing answers at {self.target.url}. Start a server with `warren dev`, "
                "or say where one is with WARREN_URL."
            ) from None
        except httpx.InvalidURL as error:
            raise Refused(f"{self.target.url!r} is not an address: {error}. Check WARREN_URL.") from None
        except httpx.TransportError as error:
            raise Refused(f"The connection to {self.target.url} broke: {error or type(error).__name__}.") from None


def _is_the_control_plane(answer: httpx.Response) -> bool:
    return str(answer.headers.get("content-type", "")).startswith("application/problem+json")


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return True


def decoded(answer: httpx.Response) -> Any:
    """What the server answered, or `Refused` with what it said."""
    try:
        document = answer.json() if answer.content else None
    except ValueError:
        document = None
    if answer.is_success:
        return document
    problem = document if isinstance(document, dict) else {}
    detail = problem.get("detail") or problem.get("message") or f"The server answered {answer.status_code}."
    if answer.status_code == 401:
        detail += ". Set WARREN_DEPLOY_KEY, or WARREN_ADMIN_KEY for what is the operator's."
    raise Refused(detail[:1].upper() + detail[1:], problem)


def _local(folder: Path) -> dict[str, Any]:
    """What a ``warren dev`` of this folder, or of one above, has left for other commands."""
    for place in (folder, *folder.parents):
        try:
            found = json.loads((place / LOCAL).read_text("utf-8"))
        except (OSError, ValueError):
            continue
        return found if isinstance(found, dict) else {}
    return {}


def find_target(url: str | None, deployment: str | None, deploy_key: str | None, admin_key: str | None) -> Target:
    """Fill in what was not said: from the deploy key, then from a running ``warren dev``."""
    local = {} if url or deploy_key or admin_key else _local(Path.cwd())
    owner = (deploy_key or "").partition("|")[0]
    return Target(
        url=(url or local.get("url") or DEFAULT_URL).rstrip("/"),
        deployment=deployment or owner or local.get("deployment"),
        deploy_key=deploy_key,
        admin_key=admin_key or local.get("admin_key"),
    )


def _secret(given: str | None, file: IO[str] | None) -> str | None:
    if given is None and file is not None:
        given = file.read()
    return (given or "").strip() or None


def json_option(function: Callable[P, R]) -> Callable[P, R]:
    """Give a command ``--json``, for programs."""

    def remember(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
        context.meta["warren.json"] = value
        return value

    option = click.option("--json", "as_json", is_flag=True, callback=remember, is_eager=True, help="For programs.")
    return option(function)


def connected(function: Callable[Concatenate[Session, P], R]) -> Callable[..., R]:
    """Give a command a session, and the options that decide with whom."""

    @click.option("--url", envvar="WARREN_URL", help=f"The server. [WARREN_URL, else {DEFAULT_URL}]")
    @click.option("--deployment", "-d", envvar="WARREN_DEPLOYMENT", help="The deployment. [the one of the deploy key]")
    @click.option("--deploy-key", envvar="WARREN_DEPLOY_KEY", help="A key of the deployment. [WARREN_DEPLOY_KEY]")
    @click.option("--deploy-key-file", envvar="WARREN_DEPLOY_KEY_FILE", type=click.File(), hidden=True)
    @click.option("--admin-key", envvar="WARREN_ADMIN_KEY", help="The operator's key. [WARREN_ADMIN_KEY]")
    @click.option("--admin-key-file", envvar="WARREN_ADMIN_KEY_FILE", type=click.File(), hidden=True)
    @json_option
    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> R:
        said: dict[str, Any] = dict(kwargs)
        deploy_key = _secret(said.pop("deploy_key"), said.pop("deploy_key_file"))
        admin_key = _secret(said.pop("admin_key"), said.pop("admin_key_file"))
        target = find_target(said.pop("url"), said.pop("deployment"), deploy_key, admin_key)
        with closing(Session(target, Screen(json=said.pop("as_json")))) as session:
            return function(session, *args, **said)

    return command
