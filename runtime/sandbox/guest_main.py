"""Who answers the host from behind the wall?

The guest's main: it is called by the zygote's child once the lock-down holds, says so, loads one bundle, and then
serves conversations until the host closes the channel. There is one guest in a process.

Rules
1. `prepare` does everything that needs a kernel call which the lock-down takes away. `main` needs none.
2. An interruption is raised in tenant code and nowhere else: the runtime's own frames always finish what they do.
3. What the host says is trusted, and must still be a message: a guest that cannot read its host ends.
"""

import gc
import os
import signal
import sys
from contextvars import Context
from types import FrameType
from typing import Any, NoReturn

from runtime import limits
from runtime.protocol.framing import ProtocolViolation, frame, splitter_for_guest
from runtime.protocol.messages import (
    Answer,
    CallFunction,
    CallHttp,
    Credit,
    Disconnected,
    Feed,
    Level,
    Load,
    Loaded,
    LoadRefused,
    Ping,
    Pong,
    Ready,
    Refuse,
    SetEnvironment,
    Stop,
)
from runtime.sandbox.guest import loader
from runtime.sandbox.guest.calls import Conversation, Desk, FunctionCall
from runtime.sandbox.guest.http_calls import HttpCall, Route
from runtime.sandbox.guest.loop import GuestLoop
from runtime.sandbox.guest.tracebacks import MARK, TimeLimit, describe
from runtime.sdk.env import replace_environment
from runtime.sdk.running import RUNNING

CHANNEL = 3
_OUR_FILES = (os.path.dirname(os.path.abspath(__file__)) + os.sep, "<frozen importlib")


def prepare() -> None:
    """Install what interrupts tenant code. Call it before the lock-down."""
    signal.signal(signal.SIGUSR1, interrupt)


def main(layers: tuple[str, ...]) -> NoReturn:
    """Serve the host until it closes the channel, then end the process. Call it after the lock-down."""
    try:
        Guest(CHANNEL).serve(layers)
    except ProtocolViolation:
        os._exit(70)
    os._exit(0)


class Guest:
    """The dispatcher: what each message of the host sets in motion."""

    def __init__(self, channel: int) -> None:
        self._splitter = splitter_for_guest(limits.HOST_FRAME)
        self._loop = GuestLoop(channel, self._receive, _adopt, self._complain)
        self._desk = Desk(self._loop, self._loop.send)
        self._routes: dict[str, Route] = {}
        self._serve: dict[type, Any] = {
            Load: self._load,
            SetEnvironment: self._set_environment,
            CallFunction: self._call_function,
            CallHttp: self._call_http,
            Feed: self._feed,
            Credit: self._credit,
            Answer: self._desk.answer,
            Refuse: self._desk.refuse,
            Disconnected: self._disconnected,
            Stop: self._desk.stop,
            Ping: self._ping,
        }

    def serve(self, layers: tuple[str, ...]) -> None:
        """Say that we are ready, and serve until the channel closes."""
        self._loop.send(frame(Ready(layers)))
        self._loop.run_forever()

    def _receive(self, data: bytes) -> None:
        serve = self._serve
        for message in self._splitter.feed(data):
            serve[type(message)](message)

    # --- the bundle ---------------------------------------------------------------------------------------------------

    def _load(self, message: Load) -> None:
        self._desk.deployment = message.deployment
        replace_environment(message.environment)
        try:
            # A context of its own: what import time sets must not be seen by any call.
            bundle = Context().run(loader.load, message, self._desk.sources, self._desk.own_line)
        except loader.Refused as refused:
            self._loop.send(frame(LoadRefused(refused.diagnostics[: limits.DIAGNOSTICS])))
            return
        self._desk.functions = bundle.functions
        self._routes = bundle.routes
        # What was loaded stays for the life of the process; a collection need not look at it again.
        gc.freeze()
        self._loop.send(frame(Loaded(bundle.declaration)))

    def _set_environment(self, message: SetEnvironment) -> None:
        replace_environment(message.environment)

    # --- conversations ------------------------------------------------------------------------------------------------

    def _call_http(self, message: CallHttp) -> None:
        call = HttpCall(self._desk, message)
        call.begin(call.run(message, self._routes))

    def _call_function(self, message: CallFunction) -> None:
        call = FunctionCall(self._desk, message)
        call.begin(call.run(message))

    def _http_call(self, cid: int) -> HttpCall | None:
        call = self._desk.conversations.get(cid)
        return call if isinstance(call, HttpCall) else None

    def _feed(self, message: Feed) -> None:
        call = self._http_call(message.cid)
        if call is not None:
            call.feed(message.data, message.last)

    def _credit(self, message: Credit) -> None:
        call = self._http_call(message.cid)
        if call is not None:
            call.credit(message.amount)

    def _disconnected(self, message: Disconnected) -> None:
        call = self._http_call(message.cid)
        if call is not None:
            call.disconnected()

    def _ping(self, message: Ping) -> None:
        self._loop.send(frame(Pong(message.number)))

    def _complain(self, what: str, error: BaseException | None) -> None:
        text = what if error is None else f"{what}: {describe(error)}"
        running = RUNNING.get()
        if isinstance(running, Conversation):
            running.log(Level.ERROR, text)
        else:
            self._desk.own_line(Level.ERROR, text)


def _adopt(task: Any, context: Context | None) -> None:
    running = RUNNING.get() if context is None else context.get(RUNNING)
    if not isinstance(running, Conversation):
        raise RuntimeError("tasks can be started only while a function of the bundle runs")
    running.adopt(task)


# --- interruption -----------------------------------------------------------------------------------------------------


def interrupt(number: int, running: FrameType | None) -> None:
    """Raise `TimeLimit` in the tenant code that is running now; do nothing when there is none."""
    tenant = running
    while tenant is not None and not tenant.f_code.co_filename.startswith(MARK):
        tenant = tenant.f_back
    if tenant is None:
        return
    step = running
    while step is not None and step is not tenant:
        if step.f_code.co_filename.startswith(_OUR_FILES):
            _raise_later(tenant)
            return
        step = step.f_back
    raise TimeLimit


def _raise_later(tenant: FrameType) -> None:
    """Raise at the tenant's next line: now would be in the middle of something of ours."""

    def at_next_line(frame: FrameType, event: str, argument: Any) -> Any:
        sys.settrace(None)
        frame.f_trace = None
        raise TimeLimit

    tenant.f_trace = at_next_line
    sys.settrace(lambda frame, event, argument: None)
