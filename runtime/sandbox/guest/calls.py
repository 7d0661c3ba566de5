"""How is one call of a tenant's function carried through, from the host's word to the last word?

A `Conversation` is one invocation seen from inside: it is what the tenant's code finds as `RUNNING`, it asks the host
on its behalf, keeps its log, and makes sure that exactly one last word is said.

Rules
1. Whatever the tenant's code does, the conversation ends with one last word, and nothing is said in it afterwards.
2. What the code left running is cancelled before the last word, and the log says so.
3. The limits that the host enforces by killing are enforced here first, by an exception that names them.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from random import Random
from types import CoroutineType
from typing import Any

import msgspec
from msgspec import Raw

from runtime import limits
from runtime.protocol import values
from runtime.protocol.declaration import Kind
from runtime.protocol.framing import frame
from runtime.protocol.messages import (
    Answer,
    CallFunction,
    Failed,
    Failure,
    Level,
    Line,
    Reason,
    Refuse,
    Returned,
    Stop,
    Syscall,
)
from runtime.protocol.user_identity import UserIdentity
from runtime.sandbox.guest.tracebacks import CallMistake, clean, describe, failure_of, frames_of
from runtime.sdk.auth.identity import InvalidToken
from runtime.sdk.context import ActionCtx, MutationCtx, QueryCtx
from runtime.sdk.functions import ApplicationError, FunctionError, LimitExceeded, RegisteredFunction
from runtime.sdk.running import RUNNING, Running
from runtime.sdk.validators import Mismatch

_encode = msgspec.msgpack.Encoder().encode
_RAISED: dict[str, type[Exception]] = {
    "ValueError": ValueError,
    "TypeError": TypeError,
    "RuntimeError": RuntimeError,
    "LimitExceeded": LimitExceeded,
    "FunctionError": FunctionError,
    "InvalidToken": InvalidToken,
    "TimeoutError": TimeoutError,
}
_CONTEXTS: dict[Kind, Callable[[Running], Any]] = {
    Kind.QUERY: QueryCtx,
    Kind.MUTATION: MutationCtx,
    Kind.ACTION: ActionCtx,
}


class Desk:
    """What all calls of one guest share: the loop, the way to the host, what was loaded, who is being served."""

    def __init__(self, loop: asyncio.AbstractEventLoop, send: Callable[[bytes], None]) -> None:
        self.loop = loop
        self.send = send
        self.deployment = ""
        self.functions: dict[str, RegisteredFunction] = {}
        self.sources: dict[str, list[str]] = {}
        self.conversations: dict[int, Conversation] = {}
        self._own_lines = 0

    # A message for a conversation that has just ended was under way when its last word was: it is dropped.

    def answer(self, message: Answer) -> None:
        """The host has answered a syscall."""
        call = self.conversations.get(message.cid)
        if call is not None:
            call.answered(message.sid, message.value)

    def refuse(self, message: Refuse) -> None:
        """The host has refused a syscall."""
        call = self.conversations.get(message.cid)
        if call is not None:
            call.refused(message)

    def stop(self, message: Stop) -> None:
        """A deadline has passed."""
        call = self.conversations.get(message.cid)
        if call is not None:
            call.stop()

    def own_line(self, level: Level, text: str) -> None:
        """Log a line that belongs to no call: import time, or work that outlived its call."""
        self._own_lines += 1
        if self._own_lines <= limits.LOG_LINES:
            self.send(frame(Line(0, level, cut_line(text))))


def cut_line(text: str) -> str:
    """Make a log line what the host accepts: valid Unicode, at most `LOG_LINE_BYTES`."""
    text = clean(text, limits.LOG_LINE_BYTES)
    if len(text) * 4 > limits.LOG_LINE_BYTES:
        data = text.encode()
        if len(data) > limits.LOG_LINE_BYTES + 64:  # the room for the notice that `clean` has added
            kept = data[: limits.LOG_LINE_BYTES].decode(errors="ignore")
            text = f"{kept}… ({len(data) - limits.LOG_LINE_BYTES} more bytes)"
    return text


class Conversation(Running):
    """One invocation. What is seldom needed is a default of the class and costs a small call nothing."""

    task: "asyncio.Task[None]"
    ended = False
    stopped = False
    grace = limits.STOP_GRACE / 2000  # seconds from `stop` to the end, whatever the work does
    _lines = 0
    _sid = 0
    _open: "dict[int, asyncio.Future[Any]] | None" = None
    _queue: "deque[asyncio.Future[None]] | None" = None
    _tasks: "set[asyncio.Task[Any]] | None" = None

    def __init__(self, desk: Desk, cid: int, kind: Kind, request_id: str) -> None:
        self.desk = desk
        self.cid = cid
        self.kind = kind
        self.request_id = request_id
        self.deployment = desk.deployment
        self.now = None

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Start the work of this call in a task and a context of its own."""
        self.desk.conversations[self.cid] = self
        self.task = asyncio.Task(work, loop=self.desk.loop)

    # --- what the tenant's code asks for ------------------------------------------------------------------------------

    async def syscall(self, name: str, *args: Any) -> Any:
        """Ask the host and return the decoded answer; arguments are plain values or encoded already."""
        encoded = _encode(args)
        if len(encoded) > limits.VALUE_BYTES:
            raise LimitExceeded(f"{name}: {len(encoded)} bytes of arguments, limit {limits.VALUE_BYTES} bytes")
        if self._open is None:
            self._open = {}
        while len(self._open) >= limits.SYSCALLS_AT_ONCE:
            await self._stand_in_line()
        if self.ended:
            raise RuntimeError(f"{name}: the call that this work belongs to has ended")
        sid = self._sid
        if sid >= limits.SYSCALLS_PER_CALL:
            raise LimitExceeded(f"more than {limits.SYSCALLS_PER_CALL} calls of ctx in one invocation")
        self._sid = sid + 1
        answer = self._open[sid] = self.desk.loop.create_future()
        self.desk.send(frame(Syscall(self.cid, sid, name, Raw(encoded))))
        return values.decode_own(await answer)

    async def _stand_in_line(self) -> None:
        if self._queue is None:
            self._queue = deque()
        turn = self.desk.loop.create_future()
        self._queue.append(turn)
        try:
            await turn
        except BaseException:
            # Whoever was called up and leaves lets the next one go.
            if turn.done() and not turn.cancelled():
                self._call_up_next()
            raise

    def _call_up_next(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def log(self, level: Level, text: str) -> None:
        """Keep a line; past the limit lines are only counted."""
        if self.ended:
            self.desk.own_line(level, text)
            return
        self._lines += 1
        if self._lines <= limits.LOG_LINES:
            self.desk.send(frame(Line(self.cid, level, cut_line(text))))

    def adopt(self, task: "asyncio.Task[Any]") -> None:
        """Remember a task that the call has started."""
        if self.ended:
            raise RuntimeError("the call that this work belongs to has ended: no more tasks")
        if self._tasks is None:
            self._tasks = set()
        self._tasks.add(task)
        task.add_done_callback(self._task_done, context=_NOBODY)

    def _task_done(self, task: "asyncio.Task[Any]") -> None:
        # A task that failed stays, so that the end of the call can see whether anybody asked for its error.
        if self._tasks is not None and (task.cancelled() or not _unheard(task)):
            self._tasks.discard(task)

    # --- what the host says -------------------------------------------------------------------------------------------

    def answered(self, sid: int, value: Raw) -> None:
        """The host has answered a syscall."""
        asked = self._asked(sid)
        if asked is not None:
            asked.set_result(value)

    def refused(self, message: Refuse) -> None:
        """The host has refused a syscall."""
        asked = self._asked(message.sid)
        if asked is None:
            return
        if message.exception == "ApplicationError" and message.data is not None:
            asked.set_exception(ApplicationError(values.decode_own(message.data)))
        else:
            asked.set_exception(_RAISED.get(message.exception, RuntimeError)(message.message))

    def _asked(self, sid: int) -> "asyncio.Future[Any] | None":
        asked = self._open.pop(sid, None) if self._open else None
        self._call_up_next()
        return None if asked is None or asked.done() else asked

    def stop(self) -> None:
        """The deadline passed: cancel the work, and end the call even when the work does not listen."""
        if not self.stopped:
            self.stopped = True
            self.task.cancel()
            self.desk.loop.call_later(self.grace, self._give_up)

    def _give_up(self) -> None:
        if not self.ended:
            self.fail(asyncio.CancelledError())

    # --- the last word ------------------------------------------------------------------------------------------------

    def fail(self, error: BaseException) -> None:
        """End the call with this error."""
        sources = self.desk.sources
        if self.stopped:
            failure = Failure(Reason.TIME, "TimeLimit", "the call did not end in time", frames_of(error, sources))
        else:
            failure = failure_of(error, sources)
        self.end(frame(Failed(self.cid, failure)))

    def end(self, last_word: bytes) -> None:
        """End the call; everything it left behind is cancelled and reported first."""
        if self.ended:
            return
        if self._tasks:
            self._leave_nothing_behind(self._tasks)
        if self._lines > limits.LOG_LINES:
            notice = f"{self._lines - limits.LOG_LINES} more lines dropped, limit {limits.LOG_LINES} lines of one call"
            self.desk.send(frame(Line(self.cid, Level.WARN, notice)))
        self.desk.send(last_word)
        self.ended = True
        del self.desk.conversations[self.cid]

    def _leave_nothing_behind(self, tasks: "set[asyncio.Task[Any]]") -> None:
        unfinished = [task for task in tasks if not task.done()]
        for task in unfinished:
            task.cancel()
        # These come on top of the lines that the call may log; the host leaves room for a few.
        if unfinished:
            count = f"{len(unfinished)} task{'s' if len(unfinished) > 1 else ''}"
            self.desk.send(frame(Line(self.cid, Level.WARN, f"work left behind was cancelled: {count}")))
        failed = [task for task in tasks if task.done() and _unheard(task)]
        for task in failed[:4]:
            error = task.exception()
            if error is not None:
                text = cut_line(f"a task failed and nobody waited for it: {describe(error)}")
                self.desk.send(frame(Line(self.cid, Level.ERROR, text)))
        for task in failed:
            task.exception()
        self._tasks = None


_NOBODY = Context()


def _unheard(task: "asyncio.Task[Any]") -> bool:
    return bool(getattr(task, "_log_traceback", False))


async def settle(result: Any) -> Any:
    """Await what a handler returned when it can be awaited."""
    if type(result) is CoroutineType or isinstance(result, Awaitable):
        return await result
    return result


class FunctionCall(Conversation):
    """One call of a query, mutation or action."""

    _seed: bytes = b""
    _random: Random | None = None

    def __init__(self, desk: Desk, message: CallFunction) -> None:
        super().__init__(desk, message.cid, message.kind, message.request_id)
        if message.kind is Kind.QUERY or message.kind is Kind.MUTATION:
            self.now = message.now
            self._seed = message.seed

    @property
    def random(self) -> Random | None:  # type: ignore[override]  # made when asked for: it costs more than a small call
        """The seeded generator of a query or mutation."""
        if self._random is None and self.now is not None:
            self._random = Random(int.from_bytes(self._seed))
        return self._random

    async def run(self, message: CallFunction) -> None:
        """Check the arguments, call the function, check and send its result."""
        RUNNING.set(self)
        try:
            function = self._function(message.path, message.kind)
            args = self._arguments(function, message.args)
            result = self._invoke(function, args)
            if type(result) is CoroutineType:
                result = await result
            else:
                result = await settle(result)
            last_word = frame(Returned(self.cid, Raw(_result(function, result))))
            if self.stopped:
                raise asyncio.CancelledError
        except BaseException as error:
            self.fail(error)
        else:
            self.end(last_word)

    def _invoke(self, function: RegisteredFunction, args: Any) -> Any:
        return function.handler(_CONTEXTS[function.kind](self), **args)

    def _function(self, path: str, kind: Kind) -> RegisteredFunction:
        function = self.desk.functions.get(path)
        if function is None or function.kind is not kind:
            text = (
                f"there is no {kind} {path!r}" if function is None else f"{path!r} is a {function.kind}, not a {kind}"
            )
            raise CallMistake(Reason.UNKNOWN, "LookupError", text)
        return function

    def _arguments(self, function: RegisteredFunction, encoded: Raw) -> Any:
        args = values.decode_own(encoded)
        try:
            return function.args.check(args, "args")
        except Mismatch as error:
            text = f"{function.path}: {error}"
            raise CallMistake(Reason.ARGUMENTS, "ArgumentValidationError", text) from None


def _result(function: RegisteredFunction, result: Any) -> bytes:
    try:
        if function.returns is not None:
            # The user's identity may be promised as the dict it is.
            result = function.returns.check(dict(result) if type(result) is UserIdentity else result, "result")
        encoded = values.encode(result, "result")
    except Mismatch as error:
        raise CallMistake(Reason.RETURNS, "ReturnsValidationError", f"{function.path}: {error}") from None
    except values.InvalidValue as error:
        raise CallMistake(Reason.RETURNS, "TypeError", f"{function.path}: {error}") from None
    if len(encoded) > limits.VALUE_BYTES:
        text = f"{function.path}: result of {len(encoded)} bytes, limit {limits.VALUE_BYTES} bytes"
        raise CallMistake(Reason.RETURNS, "LimitExceeded", text)
    return encoded
