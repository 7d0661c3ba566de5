"""What is there of one request on a connection?

Uvicorn's cycle of a request and its response, made of less: what hardly any request changes stands on the class, and
there is neither an event nor a task where nobody waits.

Rules
1. What the server waits for when it stops, and cancels in the end, stands in ``under_way``: tasks, and whatever else
   has a method ``cancel``.
"""

import asyncio
import logging
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from runtime.edge.connections.cork import Cork


class Cycle(RequestResponseCycle):
    """One request and its response."""

    logger = logging.getLogger("uvicorn.error")
    access_log = False
    disconnected = False
    waiting_for_100_continue = False
    more_body = True
    response_started = False
    response_complete = False
    chunked_encoding = None
    expected_content_length = 0
    _event: asyncio.Event | None = None

    def __init__(self, connection: HttpToolsProtocol, cork: Cork) -> None:
        # Not uvicorn's: that sets twenty attributes, most of which are what they are above.
        self.scope = connection.scope
        self.transport = connection.transport
        self.flow = connection.flow
        self.default_headers = connection.server_state.default_headers
        self.on_response = connection.on_response_complete
        self.keep_alive = connection.scope["http_version"] != "1.0" and connection.parser.should_keep_alive()
        self.body = bytearray()
        self.under_way: set[Any] = connection.tasks
        self._cork = cork
        self._loop = connection.loop
        if connection.expect_100_continue:
            self.waiting_for_100_continue = True

    @property
    def message_event(self) -> asyncio.Event:  # type: ignore[override]  # an attribute there, the same use
        """Set when there is something to receive; made when somebody wants to wait for it."""
        if self._event is None:
            self._event = asyncio.Event()
            if self.body or not self.more_body or self.disconnected or self.response_complete:
                self._event.set()
        return self._event

    def ring(self) -> None:
        """There is something to receive."""
        if self._event is not None:
            self._event.set()

    def go_on(self, app: Any) -> asyncio.Task[None]:
        """Have it answered, or the rest of it done, in a task."""
        task = self._loop.create_task(self.run_asgi(app))
        task.add_done_callback(self.under_way.discard)
        self.under_way.add(task)
        return task

    def send_at_once(self, status: int, head: bytes, body: bytes) -> bool:
        """Send a whole answer in one piece, unless anything is unusual; say whether it was done."""
        if self.response_started or self.disconnected or self.flow.write_paused or not self.keep_alive:
            return False
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        date = [b"%b: %b\r\n" % pair for pair in self.default_headers]
        self._cork.send(b"".join((STATUS_LINE[status], *date, head, body)))
        if self._event is not None:
            self._event.set()
        on_response, self.on_response = self.on_response, _nothing  # it holds the connection, which holds us
        on_response()
        return True


def _nothing() -> None:
    pass


def send_at_once(send: Any, status: int, head: bytes, body: bytes) -> bool:
    """Send a whole answer in one piece, past what uvicorn does for those that come in several; say whether it was done.

    ``head`` is header lines that were checked, with the ``content-length`` of ``body`` and the empty line. It is not
    done where anything is unusual: not our ``send``, a client that reads slowly, a connection to be closed.
    """
    cycle = getattr(send, "__self__", None)
    return isinstance(cycle, Cycle) and cycle.send_at_once(status, head, body)
