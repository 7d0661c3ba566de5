"""Which line of a deployment's log does a finished request become?

Knows the exchange when it is over, and what went wrong in it.
"""

import logging

from runtime.edge.exchange import Exchange
from runtime.edge.problems import public_words, status_of
from runtime.ports import Clock, LogEntry, Logs
from runtime.protocol.declaration import Kind
from runtime.protocol.messages import Level

log = logging.getLogger("warren.edge")


class Diary:
    """What the door writes into the logs."""

    def __init__(self, logs: Logs, clock: Clock) -> None:
        self._logs = logs
        self._clock = clock

    def note(self, error: Exception, exchange: Exchange) -> None:
        """Remember what went wrong, for the line to come."""
        code, message = public_words(error, exchange.request_id)
        exchange.note = f"{code}: {message[:200]}"
        if status_of(error) == 500:
            log.error("request %s failed", exchange.request_id, exc_info=error)

    def write(self, exchange: Exchange) -> None:
        """Write the line of a request that is over, if it met a deployment."""
        if exchange.deployment is None:
            return
        status = exchange.status or 500
        took = exchange.elapsed()
        # As it was sent: a decoded path could hold line breaks, and two paths would look like one.
        path = exchange.scope["raw_path"].decode("ascii", "backslashreplace")
        what = path if exchange.kind in (None, Kind.HTTP_ACTION) else exchange.function
        text = f"{exchange.method} {what[:200]} {status} in {took:.1f} ms"
        if exchange.note:
            text = f"{text}: {exchange.note}"
        entry = LogEntry(
            self._clock.now(),
            _level(status, exchange.note),
            text,
            kind="request",
            request_id=exchange.request_id,
            function=exchange.function,
            function_kind=exchange.kind,
            status=status,
            duration=took,
        )
        self._logs.write(exchange.deployment, entry)


def _level(status: int, note: str) -> Level:
    if status >= 500 or (note and status < 400):
        return Level.ERROR  # a function that failed, or a stream that was cut
    return Level.WARN if note else Level.INFO
