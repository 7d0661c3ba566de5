"""A guest that lies: which lie is the name of the deployment it is told to load.

Runs behind the kernel's layer like any guest, without tenant code: what a bundle could do that has taken over its own
interpreter. The lies that begin with ``call-`` are told when a function is called, the others at once.
"""

import os
from collections.abc import Callable
from typing import NoReturn

from msgspec import Raw

from runtime import limits
from runtime.protocol.declaration import Declaration, Diagnostic, Packages
from runtime.protocol.framing import frame, splitter_for_guest
from runtime.protocol.messages import (
    CallFunction,
    Chunk,
    Credit,
    Failed,
    Failure,
    GuestMessage,
    Head,
    HostMessage,
    Level,
    Line,
    Load,
    Loaded,
    LoadRefused,
    Pong,
    Ready,
    Reason,
    Returned,
    Syscall,
    Taken,
)

CHANNEL = 3
NIL = Raw(b"\xc0")


def prepare() -> None:
    """Nothing to prepare."""


def say(*messages: GuestMessage | HostMessage) -> None:
    """Send messages."""
    send(b"".join(frame(message) for message in messages))


def send(data: bytes) -> None:
    """Send bytes, all of them."""
    while data:
        data = data[os.write(CHANNEL, data) :]


def forever(data: bytes) -> NoReturn:
    """Send the same bytes until nobody listens."""
    while True:
        send(data)


AT_ONCE: dict[str, Callable[[], object]] = {
    "garbage": lambda: send(os.getrandom(5000)),
    "empty-frame": lambda: send(b"\0\0\0\0"),
    "endless-frame": lambda: send(b"\xff\xff\xff\xff" + b"x" * 100_000),
    "deep": lambda: send(len(deep()).to_bytes(4, "little") + deep()),
    "host-message": lambda: say(Credit(1, 5)),
    "ready-twice": lambda: say(Ready(())),
    "loaded-twice": lambda: say(Loaded(Declaration()), Loaded(Declaration())),
    "pong": lambda: say(Pong(1)),
    "unknown-conversation": lambda: say(Returned(12345, NIL)),
    "flood-of-lines": lambda: forever(frame(Line(0, Level.INFO, "x" * 1000))),
    "long-line": lambda: say(Line(0, Level.INFO, "x" * 100_000)),
    "flood-of-pongs": lambda: forever(frame(Pong(1)) * 100),
    "half-a-frame": lambda: send(b"\x10\0\0\0abc"),
    "closes": lambda: os._exit(0),
    "diagnostics": lambda: say(LoadRefused(tuple(Diagnostic("f", 1, "m") for _ in range(50_000)))),
}


def deep() -> bytes:
    """A message nested a million levels."""
    return b"\x94\x05\x01" + b"\x91" * 1_000_000 + b"\xc0"


def burn() -> NoReturn:
    """Say that the bundle is loaded, and go on burning."""
    say(Loaded(Declaration()))
    while True:
        pass


ON_CALL: dict[str, Callable[[int], object]] = {
    "call-answers-twice": lambda cid: say(Returned(cid, NIL), Returned(cid, NIL)),
    "call-with-a-head": lambda cid: say(Head(cid, 200, [], b"", True)),
    "call-with-a-chunk": lambda cid: say(Chunk(cid, b"x", True)),
    "call-takes-a-body": lambda cid: say(Taken(cid, 5)),
    "call-counts-wrong": lambda cid: say(Syscall(cid, 7, "db.get", NIL)),
    "call-floods-syscalls": lambda cid: forever_syscalls(cid),
    "call-floods-lines": lambda cid: forever(frame(Line(cid, Level.INFO, "x"))),
    "call-other-conversation": lambda cid: say(Returned(cid + 1, NIL)),
    "call-closes": lambda cid: os._exit(0),
    "call-empty-pieces": lambda cid: forever(frame(Chunk(cid, b"", False)) * 100),
    "call-million-things": lambda cid: say(Returned(cid, Raw(b"\xdd\x00\x7a\x12\x00" + b"\x90" * 8_000_000))),
    "call-garbage": lambda cid: send(os.getrandom(5000)),
    "call-huge-value": lambda cid: send((limits.GUEST_FRAME + 1).to_bytes(4, "little")),
    "call-no-value": lambda cid: say(Returned(cid, Raw(b"\xd4\x07\x00"))),
    "call-log-bomb": lambda cid: say(Failed(cid, Failure(Reason.RAISED, "E" * 10**6, "m" * 10**6, data=b"\xc1"))),
    "call-unknown-syscall": lambda cid: say(Syscall(cid, 0, "host.exec", Raw(b"\x91\xa2id")), Returned(cid, NIL)),
}


def forever_syscalls(cid: int) -> NoReturn:
    """Ask and ask, without waiting for an answer."""
    sid = 0
    while True:
        say(Syscall(cid, sid, "db.get", Raw(b"\x91\xa1x")))
        sid += 1


def main(layers: tuple[str, ...]) -> NoReturn:
    """Say Ready, wait for Load, lie."""
    say(Ready(layers))
    splitter = splitter_for_guest(limits.HOST_FRAME)
    lie = ""
    while data := os.read(CHANNEL, 65536):
        for message in splitter.feed(data):
            if isinstance(message, Load):
                lie = message.deployment
                if lie in AT_ONCE:
                    AT_ONCE[lie]()
                elif lie == "restless":
                    burn()
                elif lie == "locks":
                    say(Loaded(Declaration(packages=Packages("of its own", "of its own"))))
                else:
                    say(Loaded(Declaration()))
            elif isinstance(message, CallFunction):
                ON_CALL[lie](message.cid)
    os._exit(0)
