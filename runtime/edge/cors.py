"""Which other sites' pages may read this answer?

Pure: turns a tenant's `Cors` declaration and a request's headers into response headers (Fetch standard, CORS protocol).
Whether a declaration applies is decided in `app.py`.

Rules
1. Every answer of a route with a declaration says ``Vary: Origin``, also to a caller from the same site: caches must
   not hand one site's permission to another.
2. An origin that is not listed gets no permission headers; the browser then refuses for us.
3. With credentials nothing is answered with ``*``: browsers would not accept it. The caller's own words are repeated.
4. A declaration that names no methods allows those the path has; one that names no headers allows what is asked for.
"""

from collections.abc import Iterable, Sequence

from runtime.protocol.declaration import Cors
from runtime.protocol.messages import HeaderList

_VARY = (b"vary", b"Origin")
_MANY = (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")

# What the function API answers: open to every page, as Convex's clients expect of it.
_API_METHODS = b"GET, POST, OPTIONS"
_API_EXPOSED = b"x-request-id, server-timing, retry-after, etag, digest, accept-ranges, content-range"
_API_MAX_AGE = b"86400"


def header(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bytes | None:
    """The first value of this header (name in lower case)."""
    for name, value in headers:
        if name == wanted:
            return value
    return None


def is_preflight(method: str, headers: HeaderList) -> bool:
    """Whether a browser asks for permission before it sends the real request."""
    return (
        method == "OPTIONS"
        and header(headers, b"origin") is not None
        and header(headers, b"access-control-request-method") is not None
    )


def answer_headers(cors: Cors, headers: HeaderList) -> HeaderList:
    """What to add to the answer of a request with these headers."""
    allowed = _allowed_origin(cors, header(headers, b"origin"))
    if allowed is None:
        return [_VARY]
    answer = [(b"access-control-allow-origin", allowed), _VARY]
    if cors.allow_credentials:
        answer.append((b"access-control-allow-credentials", b"true"))
    if cors.expose_headers:
        answer.append((b"access-control-expose-headers", _listed(cors.expose_headers)))
    return answer


def preflight_headers(cors: Cors, headers: HeaderList, methods: Sequence[str]) -> HeaderList:
    """The answer to a pre-flight for a path that has these methods."""
    allowed = _allowed_origin(cors, header(headers, b"origin"))
    if allowed is None:
        return [_MANY]
    answer = [(b"access-control-allow-origin", allowed), _MANY]
    asked_method = header(headers, b"access-control-request-method") or b""
    answer.append((b"access-control-allow-methods", _words(cors, cors.allow_methods, asked_method) or _listed(methods)))
    asked_headers = header(headers, b"access-control-request-headers") or b""
    allow_headers = _words(cors, cors.allow_headers, asked_headers) or asked_headers
    if allow_headers:
        answer.append((b"access-control-allow-headers", allow_headers))
    if cors.allow_credentials:
        answer.append((b"access-control-allow-credentials", b"true"))
    if cors.max_age is not None:
        answer.append((b"access-control-max-age", b"%d" % cors.max_age))
    return answer


def open_headers(method: str, headers: HeaderList) -> HeaderList:
    """What the function API adds to every answer: any page may call it, and read what it says."""
    origin = header(headers, b"origin")
    if origin is None:
        return [_VARY]
    answer = [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", _API_EXPOSED),
    ]
    if not is_preflight(method, headers):
        return [*answer, _VARY]
    asked = header(headers, b"access-control-request-headers")
    answer += [(b"access-control-allow-methods", _API_METHODS), (b"access-control-max-age", _API_MAX_AGE), _MANY]
    if asked:
        answer.append((b"access-control-allow-headers", asked))
    return answer


def add(headers: HeaderList, more: HeaderList) -> HeaderList:
    """Put the platform's permission in the place of what the tenant set by hand; two of them would be none."""
    replaced = {name for name, _ in more if name != b"vary"}
    return [pair for pair in headers if pair[0].lower() not in replaced] + more


def _allowed_origin(cors: Cors, origin: bytes | None) -> bytes | None:
    if "*" in cors.allow_origins and not cors.allow_credentials:
        return b"*"
    if origin is None:
        return None
    text = origin.decode("latin-1")
    return origin if any(_fits(text.lower(), allowed.lower()) for allowed in cors.allow_origins) else None


def _fits(origin: str, allowed: str) -> bool:
    if allowed in ("*", origin):
        return True
    # "https://*.example.com", or "*.example.com" for short: any host under it, by https.
    scheme, _, host = allowed.rpartition("://")
    if not host.startswith("*."):
        return allowed.rstrip("/") == origin
    return origin.startswith(f"{scheme or 'https'}://") and origin.endswith(host[1:])


def _words(cors: Cors, allowed: Sequence[str], asked: bytes) -> bytes:
    if "*" in allowed:
        return asked if cors.allow_credentials else b"*"
    return _listed(allowed)


def _listed(words: Sequence[str]) -> bytes:
    return ", ".join(words).encode("ascii", "replace")
