"""Where does a line go that the tenant writes?

`print` and `logging` both end in the running call's log. There is no standard output behind the wall and no handler
that opens anything.

Rules
1. One print is one line, with its newlines kept; ``file=`` takes what has a ``write``, and then nothing is logged.
2. A record becomes its message, and for an exception the bundle's own lines below it: paths of the host never show.
3. A line written while no call is running goes nowhere, unless somebody takes such lines (`take_strays`).
"""

import logging
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from runtime.protocol.messages import Level
from runtime.sandbox.guest.tracebacks import MARK
from runtime.sdk.running import RUNNING


class _Writable(Protocol):
    def write(self, text: str, /) -> object: ...


_strays: list[Callable[[Level, str], None]] = []


def take_strays(write: Callable[[Level, str], None]) -> None:
    """Give ``write`` every line that is written while no call is running."""
    _strays[:] = [write]


def write(level: Level, text: str) -> None:
    """Keep one line of the running call."""
    running = RUNNING.get()
    if running is not None:
        running.log(level, text)
    elif _strays:
        _strays[0](level, text)


def say(
    *values: object,
    sep: str | None = " ",
    end: str | None = "\n",
    file: _Writable | None = None,
    flush: bool = False,  # accepted as everywhere; a line is never held back
) -> None:
    """Write the values into the log of the running call, or into ``file``."""
    text = (" " if sep is None else sep).join(map(str, values))
    end = "\n" if end is None else end
    if file is not None:
        file.write(text + end)
    else:
        write(Level.INFO, text + end.removesuffix("\n"))


class LogLines(logging.Handler):
    """The one handler: turns records into lines of the running call."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record."""
        try:
            text = record.getMessage()
        except Exception as error:
            text = f"{record.msg!r} (its arguments do not fit: {error})"
        if record.exc_info and record.exc_info[1] is not None:
            text = f"{text}\n{describe(record.exc_info[1])}"
        write(_level(record.levelno), text)


def describe(error: BaseException) -> str:
    """Write an exception down as the tenant may read it: lines of the bundle, oldest first, then what was raised."""
    steps = [
        f"  {frame.f_code.co_filename.removeprefix(MARK)}:{line} in {frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename.startswith(MARK)
    ]
    return "\n".join([*steps, *(line.rstrip("\n") for line in traceback.format_exception_only(error))])


def _level(number: int) -> Level:
    if number >= logging.ERROR:
        return Level.ERROR
    if number >= logging.WARNING:
        return Level.WARN
    return Level.INFO if number >= logging.INFO else Level.DEBUG


def install() -> None:
    """Send everything that is logged in this process to the running call; called once, in the zygote."""
    root = logging.getLogger()
    root.handlers[:] = [LogLines()]
    root.setLevel(logging.DEBUG)
    # Where a record came from costs a walk up the stack, and nobody prints it.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    for switch, value in (("logAsyncioTasks", False), ("_srcfile", None)):
        setattr(logging, switch, value)


def _basic_config(**_options: Any) -> None:
    """Do nothing: lines already go where they can be read."""


LOGGING: Mapping[str, object] = {"basicConfig": _basic_config}
