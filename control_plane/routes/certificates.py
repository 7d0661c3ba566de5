"""May a certificate be had for this name?

Asked by the proxy that speaks TLS, before it orders one (Caddy's ``on_demand_tls``): only names that a deployment
answers are worth one, and a stranger who tries names must not make us order any.

Rules
1. No key is needed, so the proxy forwards nothing of this from outside. What is answered is what a request would show.
2. Names that nobody has cost look-ups: past `UNKNOWN_NAMES` a minute only those are looked up that a deployment had
   lately, so that a stranger who tries names keeps nobody from renewing.
"""

from collections import OrderedDict

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse

from control_plane.auth import TheOffice
from control_plane.problems import documented
from runtime import limits
from runtime.errors import NotFound, TooManyRequests
from runtime.ports import Clock

router = APIRouter(tags=["health"])

_WINDOW = 60.0  # seconds
_REMEMBERED = 10_000


class Misses:
    """How many names nobody had, in this minute, and which ones somebody had."""

    def __init__(self) -> None:
        self._since = 0.0
        self._count = 0
        self._had: OrderedDict[str, None] = OrderedDict()

    def allow(self, clock: Clock, domain: str) -> bool:
        """Whether this name may be looked up."""
        now = clock.monotonic()
        if now - self._since >= _WINDOW:
            self._since, self._count = now, 0
        return self._count < limits.UNKNOWN_NAMES or domain in self._had

    def looked_up(self, domain: str, had: bool) -> None:
        """Somebody had it, or nobody."""
        if not had:
            self._count += 1
            self._had.pop(domain, None)
            return
        self._had[domain] = None
        self._had.move_to_end(domain)
        if len(self._had) > _REMEMBERED:
            self._had.popitem(last=False)


@router.get("/internal/certificate", responses=documented(404, 422, 429), response_class=PlainTextResponse)
async def certificate(request: Request, office: TheOffice, domain: str = Query(min_length=1, max_length=253)) -> str:
    """200 when a deployment answers at this name; 404 when none does."""
    misses: Misses = request.app.state.misses
    if not misses.allow(office.clock, domain):
        raise TooManyRequests(f"more than {limits.UNKNOWN_NAMES} unknown names in a minute (UNKNOWN_NAMES)", 60)
    had = await office.serves(domain)
    misses.looked_up(domain, had)
    if had:
        return "yes\n"
    raise NotFound(f"no deployment answers at {domain!r}")
