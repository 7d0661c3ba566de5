"""Where does a line go that is written in a Node-style process?

`print`, `logging`, standard output and standard error all end in the log of the call that wrote, with its request id.

Rules
1. A line belongs to the call whose context it was written in. A thread that was started without one writes lines of the
   process.
2. Packages log what is of interest to them: below INFO only the bundle's own lines are kept.
"""

import builtins
import io
import logging
import sys
import warnings
from collections.abc import Callable
from weakref import WeakKeyDictionary

from runtime.protocol.messages import Level
from runtime.sandbox.proxies import log_lines
from runtime.sdk.running import RUNNING, Running


class Stream(io.TextIOBase):
    """A standard stream: every line that is written to it becomes a line of the log."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, level: Level) -> None:
        self._level = level
        self._unfinished: WeakKeyDictionary[Running, str] = WeakKeyDictionary()
        self._of_nobody = ""

    def writable(self) -> bool:
        """It is there to be written to."""
        return True

    def write(self, text: str, /) -> int:
        """Keep what was begun until its line ends."""
        *lines, rest = (self._take() + text).split("\n")
        self._keep(rest)
        if lines:
            log_lines.write(self._level, "\n".join(lines))
        return len(text)

    def flush(self) -> None:
        """End the line that was begun."""
        rest = self._take()
        if rest:
            log_lines.write(self._level, rest)

    def _take(self) -> str:
        running = RUNNING.get()
        if running is not None:
            return self._unfinished.pop(running, "")
        rest, self._of_nobody = self._of_nobody, ""
        return rest

    def _keep(self, rest: str) -> None:
        running = RUNNING.get()
        if running is None:
            self._of_nobody = rest
        elif rest:
            self._unfinished[running] = rest


def install(own_line: Callable[[Level, str], None], package: str) -> None:
    """Send everything that is written in this process to the log; ``own_line`` takes what belongs to no call."""
    log_lines.install()
    log_lines.take_strays(own_line)
    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger(package).setLevel(logging.DEBUG)
    # A call that ended while a thread of it went on is no news.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    sys.stdout, sys.stderr = Stream(Level.INFO), Stream(Level.WARN)
    vars(builtins)["print"] = log_lines.say
