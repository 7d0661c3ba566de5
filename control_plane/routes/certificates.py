"""May a certificate be had for this name?

Asked by the proxy that speaks TLS, before it orders one (Caddy's ``on_demand_tls``): only names that a deployment
answers are worth one, and a stranger who tries names must not make us order any.

Rules
1. No key is needed, so the proxy forwards nothing of this from outside. What is answered is what a request would show.
2. Names that nobody has cost look-ups: past `UNKNOWN_NAMES` a minute nobody is asked any more.
"""

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse

from control_plane.auth import TheOffice
from control_plane.problems import documented
from runtime import limits
from runtime.errors import NotFound, TooManyRequests
from runtime.ports import Clock

router = APIRouter(tags=["health"])

_WINDOW = 60.0  # seconds


class Misses:
    """How many names nobody had, in this minute."""

    def __init__(self) -> None:
        self._since = 0.0
        self._count = 0

    def allow(self, clock: Clock) -> bool:
        """Whether another name may be looked up."""
        now = clock.monotonic()
        if now - self._since >= _WINDOW:
            self._since, self._count = now, 0
        return self._count < limits.UNKNOWN_NAMES

    def missed(self) -> None:
        """Nobody had it."""
        self._count += 1


@router.get("/internal/certificate", responses=documented(404, 422, 429), response_class=PlainTextResponse)
async def certificate(request: Request, office: TheOffice, domain: str = Query(min_length=1, max_length=253)) -> str:
    """200 when a deployment answers at this name; 404 when none does."""
    misses: Misses = request.app.state.misses
    if not misses.allow(office.clock):
        raise TooManyRequests(f"more than {limits.UNKNOWN_NAMES} unknown names in a minute (UNKNOWN_NAMES)", 60)
    if await office.serves(domain):
        return "yes\n"
    misses.missed()
    raise NotFound(f"no deployment answers at {domain!r}")
