"""How did the tenant's code fail, told so that the host can believe the form and the tenant the content?

Turns an exception into a `Failure`: type, text, and the frames of the bundle's own files with their lines, taken from
the source that was loaded. Opens no file and formats nothing of the runtime's own frames.

Rules
1. An exception is hostile: its ``str()`` may raise, loop, or return a megabyte. A `Failure` comes out all the same.
2. Only frames of the bundle are shown, outermost first; of a deep recursion the two ends.
3. Texts are exact `str`, valid Unicode and bounded: the host refuses a frame that is not.
"""

from asyncio import CancelledError
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from runtime import limits
from runtime.protocol import values
from runtime.protocol.messages import Failure, Frame, Reason
from runtime.sdk.functions import ApplicationError

# What the code of a bundle is compiled under. No file of a machine is called so, and a frame shows whose it is.
MARK = "bundle:"

_FRAMES_HEAD = 16
_FRAMES_TAIL = 48
_MESSAGE = 16 * 1024
_NAME = 200
_LINE = 500
_traceback_of = BaseException.__dict__["__traceback__"].__get__
_type_name = type.__dict__["__name__"].__get__

Sources = Mapping[str, Sequence[str]]


class TimeLimit(BaseException):
    """The running call was interrupted: it burnt too much CPU, or its deadline passed.

    Not an `Exception`: ``except Exception`` around a loop must not keep it from ending.
    """


class CallMistake(Exception):
    """The call itself is at fault, not what the function did; ``reason`` says how."""

    def __init__(self, reason: Reason, exception: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.exception = exception


def clean(text: str, limit: int) -> str:
    """Cut a text to ``limit`` characters and make it encodable."""
    text = str.__str__(text)
    if len(text) > limit:
        text = text[:limit] + f"… ({len(text) - limit} more characters)"
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def failure_of(error: BaseException, sources: Sources) -> Failure:
    """Describe the exception that ended a call. Never raises, and lets go of what the exception held."""
    try:
        return _failure_of(error, sources)
    except BaseException:  # also TimeLimit, out of a __str__ that loops, and MemoryError
        return Failure(_reason_of(error), _type_of(error), "the error cannot be shown: describing it failed")


def frames_of(error: BaseException, sources: Sources) -> tuple[Frame, ...]:
    """List the bundle's own frames of an exception, outermost first."""
    found: list[tuple[str, int, str]] = []
    step: TracebackType | None = _traceback_of(error)
    while step is not None:
        code = step.tb_frame.f_code
        if code.co_filename.startswith(MARK):
            found.append((code.co_filename[len(MARK) :], step.tb_lineno or 0, code.co_name))
            if len(found) > 4 * _FRAMES_TAIL:
                del found[_FRAMES_HEAD:-_FRAMES_TAIL]
        step = step.tb_next
    if len(found) > _FRAMES_HEAD + _FRAMES_TAIL:
        del found[_FRAMES_HEAD:-_FRAMES_TAIL]
    return tuple(
        Frame(clean(file, _LINE), line, clean(name, _NAME), _text(sources, file, line)) for file, line, name in found
    )


def describe(error: BaseException) -> str:
    """The exception in one line: ``ExceptionType: message``."""
    message = _message_of(error)
    return f"{_type_of(error)}: {message}" if message else _type_of(error)


def _failure_of(error: BaseException, sources: Sources) -> Failure:
    frames = frames_of(error, sources)
    # The frames hold the locals that used the memory up; without them there is room again.
    BaseException.__setattr__(error, "__traceback__", None)
    if type(error) is CallMistake:
        return Failure(error.reason, error.exception, clean(str(error), _MESSAGE), frames)
    data = _data_of(error) if isinstance(error, ApplicationError) else None
    reason = _reason_of(error)
    if reason is Reason.APPLICATION and data is None:
        reason = Reason.RAISED
    return Failure(reason, _type_of(error), _message_of(error), frames, data)


def _reason_of(error: BaseException) -> Reason:
    if isinstance(error, TimeLimit):
        return Reason.TIME
    if isinstance(error, MemoryError):
        return Reason.MEMORY
    if isinstance(error, ApplicationError):
        return Reason.APPLICATION
    return Reason.RAISED


def _data_of(error: ApplicationError) -> bytes | None:
    try:
        return values.encode(error.data, "data")
    except Exception:
        return None


def _type_of(error: BaseException) -> str:
    return clean(_type_name(type(error)), _NAME)


def _message_of(error: BaseException) -> str:
    try:
        message = clean(str(error), _MESSAGE)
        if isinstance(error, BaseExceptionGroup):
            inner = "; ".join(describe(one) for one in error.exceptions[:5])
            message = clean(f"{message}: {inner}", _MESSAGE)
    except BaseException as broken:
        return f"<str() of it raised {_type_of(broken)}>"
    return message or _untold(error)


def _untold(error: BaseException) -> str:
    if isinstance(error, TimeLimit):
        return "the call was interrupted: one turn of it took more time than is allowed"
    if isinstance(error, MemoryError):
        return f"no memory is left, limit {limits.GUEST_MEMORY // limits.MIB} MiB for all calls of one isolate"
    if isinstance(error, CancelledError):
        return "the call was cancelled from within"
    return ""


def _text(sources: Sources, file: str, line: int) -> str:
    lines: Any = sources.get(file, ())
    return clean(lines[line - 1].strip(), _LINE) if 0 < line <= len(lines) else ""
