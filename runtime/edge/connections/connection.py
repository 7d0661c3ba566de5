"""How much patience has the server with one connection?

Uvicorn's HTTP/1.1 connection, made strict: it has no limit on heads and no time limit on a client that stops in the
middle, so both are here. Knows bytes and times, no deployment; works under any ASGI application.

Rules
1. A request line past `REQUEST_TARGET` is a 414, a head past `REQUEST_HEADERS` a 431; both end the connection.
2. A head must be complete in `BODY_IDLE_TIME`; neither a body nor the taking of an answer may stand still for as long.
   Else 408 while nothing was answered, and a cut connection afterwards.
3. A target in absolute form decides over the Host header (RFC 9112 §3.2.2).
4. Who is answered before it has sent everything may finish: closing on unread data makes the kernel throw away an
   answer that is still on its way. What it sends is discarded, within limits.
5. No more than `PIPELINED_REQUESTS` wait for their turn on one connection, and nothing is read while one does.
6. Nothing is timed per request: every connection looks at itself every few seconds.
7. An application that has a method ``begin`` is asked first, with the cycle as one argument more. It may say that it
   answers later, from a callback; everything else runs as a task.
"""

import asyncio
import json
import logging
import os
from typing import Any, cast
from urllib.parse import unquote
from weakref import WeakKeyDictionary

import uvicorn
from httptools import HttpParserError, HttpParserUpgrade, parse_url
from uvicorn._types import ASGIVersions
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from runtime import limits
from runtime.edge.connections.cork import Cork, Outbox
from runtime.edge.connections.cycle import Cycle
from runtime.edge.sync.socket import Socket

_ASGI: ASGIVersions = {"version": "3.0", "spec_version": "2.3"}
KEEP_ALIVE = 75.0  # seconds; longer than proxies keep a connection, so that it is they who close it


GRACE = 10  # seconds that open requests have when the server stops
_LINGER = 5.0  # seconds for a client to read its answer and close
# One for all connections of a server, by what they share.
_outboxes: WeakKeyDictionary[ServerState, Outbox] = WeakKeyDictionary()


class _Refused(Exception):
    """Stops uvicorn's parser."""


class Connection(HttpToolsProtocol):
    """One client's connection. ``idle`` is in seconds."""

    idle: float = limits.BODY_IDLE_TIME / 1000
    keep_alive: float = KEEP_ALIVE
    upgrades: bytes = b"/sync"  # how a path ends where a WebSocket may be spoken
    cycle: Cycle  # of the request that came last

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client has connected."""
        super().connection_made(transport)
        self._begins = getattr(self.app, "begin", None)
        self._cork = Cork(transport, _outboxes.setdefault(self.server_state, Outbox(self.loop)))
        self.transport = self._cork  # type: ignore[assignment]  # it is one in all that is used of it
        self._in_head = False
        self._chunk = 0
        self._head_bytes = 0  # of the head now coming, without its first chunk
        self._head_began = self._last = self._stuck_since = self.loop.time()
        self._unsent = 0
        self._discarded = 0
        self._refusal = (400, "BadRequest", "this is not HTTP/1.1 as its standard (RFC 9112) has it")
        self._leaves_at: float | None = None
        self._begun: Cycle | None = None
        self._look = self.loop.call_later(self.idle / 4, self._look_at_the_clock)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client, or we, have closed."""
        self._look.cancel()
        if self._begun is not None:
            self._begun.transport = self.transport  # what else stands there holds us
            self._begun.disconnected = True  # uvicorn looks at the last cycle, which may be waiting behind this one
            self._begun.ring()
        super().connection_lost(exc)

    def eof_received(self) -> None:
        """The client sends nothing more, and gets what was written before that."""
        self._cork.flush()

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._leaves_at is not None:
            self._discard(data)
            return
        self._last = self.loop.time()
        self._chunk = len(data)
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            else:
                # The parser reads nothing after an upgrade that was asked for: this connection answers once and ends.
                self.cycle.keep_alive = False
        except HttpParserError:
            self.send_400_response("")
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > limits.REQUEST_HEADERS or len(self.url) > limits.REQUEST_TARGET:
                self._too_long()
                self.send_400_response("")

    def on_message_begin(self) -> None:
        """The first byte of a request has come."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._in_head = True
        self._head_bytes = -self._chunk
        self._head_began = self._last

    def _should_upgrade(self) -> bool:
        # A handshake is a GET (RFC 6455 §4.1); the library would leave anything else without an answer. Elsewhere than
        # where a WebSocket is spoken the wish is ignored, as any server may (RFC 9110 §7.8).
        path = self.url.partition(b"?")[0]
        return path.endswith(self.upgrades) and self.parser.get_method() == b"GET" and super()._should_upgrade()

    def handle_websocket_upgrade(self) -> None:
        """From here on another protocol is spoken, and somebody else looks at the clock."""
        self._look.cancel()
        self.transport = self._cork.transport
        super().handle_websocket_upgrade()

    def on_headers_complete(self) -> None:
        """A head is complete."""
        self._in_head = False
        if len(self.pipeline) >= limits.PIPELINED_REQUESTS:
            raise _Refused
        # A head that came within one small chunk is within its limits, and need not be counted.
        if self._chunk > limits.REQUEST_TARGET or self._head_bytes >= 0:
            size = sum(len(name) + len(value) for name, value in self.headers)
            if size > limits.REQUEST_HEADERS or len(self.url) > limits.REQUEST_TARGET:
                self._too_long()
                raise _Refused
        if not self.url.startswith(b"/"):
            self._read_absolute_form()
        self._read_head()
        if self.parser.should_upgrade() and self._should_upgrade():
            return
        before, cycle = self.cycle, Cycle(self, self._cork)
        if not cycle.keep_alive or self.scope["method"] != "GET":
            cycle.transport = cast(asyncio.Transport, _Softly(self, cycle))
        self.cycle = cycle
        if before is None or before.response_complete:
            self._begin(cycle)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def _begin(self, cycle: Cycle) -> None:
        self._begun = cycle
        app = self.app
        try:
            if self._begins is not None and self._begins(cycle.scope, cycle.receive, cycle.send, cycle):
                return
        except Exception as error:
            app = _failing(error)  # the parser would take it for one of its own
        cycle.go_on(app)

    def _begin_later(self, cycle: Cycle) -> None:
        if not self.transport.is_closing():
            self._begin(cycle)

    def _read_head(self) -> None:
        target = parse_url(self.url)
        path = target.path.decode("ascii")
        self.scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": self.parser.get_http_version(),
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme or "http",
            "method": self.parser.get_method().decode("ascii"),
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": target.path,
            "query_string": target.query or b"",
            "headers": self.headers,
            "state": self.app_state.copy(),
        }

    def on_body(self, body: bytes) -> None:
        """A piece of a body has come."""
        self.expect_100_continue = False
        if self.cycle.response_complete:
            self._discard(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is complete."""
        if (self.parser.should_upgrade() and self._should_upgrade()) or self.cycle.response_complete:
            return
        self.cycle.more_body = False
        self.cycle.ring()

    def close_softly(self) -> None:
        """Say that nothing more will come, and wait for the client to close."""
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        self._leaves_at = self.loop.time() + _LINGER
        self.flow.resume_reading()
        self.transport.write_eof()

    def _discard(self, data: bytes) -> None:
        # Reading what nobody wants is worth it only while it costs less than what was wanted.
        self._discarded += len(data)
        if self._discarded > 2 * limits.REQUEST_BODY:
            self.transport.close()

    def on_response_complete(self) -> None:
        """An answer has been written; uvicorn's own keep-alive timer is not needed."""
        self.server_state.total_requests += 1
        self._last = self.loop.time()
        if self.transport.is_closing():
            return
        if self.pipeline:
            cycle, _ = self.pipeline.pop()
            # Not now: who has just answered may have more to do for that answer.
            self.loop.call_soon(self._begin_later, cast(Cycle, cycle))
        elif self.flow.read_paused:
            self.flow.resume_reading()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser refused, in our own words."""
        cycle = self.cycle
        if self.transport.is_closing() or self._leaves_at is not None:
            return
        if cycle is None or cycle.response_complete:
            self._refuse()
        elif cycle.response_started or self.pipeline:
            self.transport.close()
        elif cycle.more_body:
            self._refuse()
        else:
            # What is broken is the request after this one: this one is answered, and then no more is read.
            cycle.keep_alive = False

    def _refuse(self) -> None:
        """Answer in the application's place, and close."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.waiting_for_100_continue = False  # nothing is said after this
            self.cycle.ring()
        status, code, message = self._refusal
        body = json.dumps({"code": code, "message": message}).encode()
        head = [
            STATUS_LINE[status],
            b"content-type: application/json\r\nconnection: close\r\nserver-timing: total;dur=0\r\n",
            b"content-length: %d\r\nx-request-id: %s\r\n\r\n" % (len(body), os.urandom(8).hex().encode()),
        ]
        self.transport.write(b"".join([*head, body]))
        self.close_softly()

    def _too_long(self) -> None:
        if len(self.url) > limits.REQUEST_TARGET:
            what = f"the request target is longer than {limits.REQUEST_TARGET} bytes; send what is long in a body"
            self._refusal = (414, "TargetTooLong", what)
        else:
            what = f"the request headers are larger than {limits.REQUEST_HEADERS} bytes"
            self._refusal = (431, "HeadersTooLarge", what)

    def _read_absolute_form(self) -> None:
        scheme, separator, rest = self.url.partition(b"://")
        if separator and scheme.lower() in (b"http", b"https"):
            ends = [at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0]
            end = min(ends, default=len(rest))
            self.url = rest[end:] if rest[end : end + 1] == b"/" else b"/" + rest[end:]
            host = rest[:end].rpartition(b"@")[2]
            self.headers[:] = [(b"host", host), *(pair for pair in self.headers if pair[0] != b"host")]

    def _look_at_the_clock(self) -> None:
        if self.transport.is_closing():
            self._cut_when_stuck()
            return
        self._look = self.loop.call_later(self.idle / 4, self._look_at_the_clock)
        now, cycle = self.loop.time(), self.cycle
        if self._leaves_at is not None:
            if now > self._leaves_at:
                self.transport.close()
        elif cycle is None or cycle.response_complete:
            if not self._in_head:
                if now - self._last > (self.idle if cycle is None else self.keep_alive):
                    self.transport.close()
            elif now - self._head_began > self.idle:
                self._give_up("the request's head was not complete")
        elif cycle.response_started:
            self._cut_when_stuck()
        elif cycle.more_body and not (self.flow.read_paused or self.pipeline) and now - self._last > self.idle:
            self._give_up("the request's body did not go on")

    def _cut_when_stuck(self) -> None:
        """Cut a client that has taken nothing of what waits for it."""
        now = self.loop.time()
        unsent = self.transport.get_write_buffer_size()
        if unsent == 0 or unsent != self._unsent:
            self._unsent, self._stuck_since = unsent, now
        elif now - self._stuck_since > self.idle:
            self.transport.abort()
            return
        if self.transport.is_closing() and unsent:
            self._look = self.loop.call_later(self.idle / 4, self._look_at_the_clock)

    def _give_up(self, what: str) -> None:
        self._refusal = (408, "RequestTimeout", f"{what} in {self.idle * 1000:.0f} ms; send it again")
        self._refuse()


class _Softly:
    """What a request that may not be complete when it is answered sees of its connection's transport."""

    __slots__ = ("_connection", "_cycle")

    def __init__(self, connection: Connection, cycle: Cycle) -> None:
        self._connection = connection
        self._cycle = cycle

    def write(self, data: bytes) -> None:
        """Send this."""
        self._connection.transport.write(data)

    def is_closing(self) -> bool:
        """Whether the connection is over."""
        return self._connection.transport.is_closing()

    def close(self) -> None:
        """End the connection; softly where a client may still be sending."""
        # Who asked for permission and did not get it does not send.
        if self._cycle.response_complete and self._cycle.more_body and not self._connection.expect_100_continue:
            self._connection.close_softly()
        else:
            self._connection.transport.close()


def _failing(error: Exception) -> Any:
    async def fail(*asgi: Any) -> None:
        raise error

    return fail


def listen(app: Any, *, host: str, port: int, connection: type[Connection] = Connection) -> uvicorn.Config:
    """How every listener of ours is set up."""
    quiet = logging.getLogger("uvicorn.error")
    quiet.setLevel(logging.WARNING)  # that it starts and stops, the server says itself
    if not any(isinstance(known, _WithoutCuts) for known in quiet.filters):
        quiet.addFilter(_WithoutCuts())
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=connection,
        ws=Socket,
        ws_max_size=int(limits.SYNC_MESSAGE),
        ws_ping_interval=limits.SYNC_PING / 1000,
        ws_ping_timeout=(limits.SYNC_SILENCE - limits.SYNC_PING) / 1000,
        ws_per_message_deflate=False,  # 64 KiB for each connection, and most of them say little
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE,
    )


class _WithoutCuts(logging.Filter):
    """Drops uvicorn's complaint about answers that are cut on purpose; they have a log line of our own."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to keep this record."""
        return "returned without completing response" not in record.getMessage()
