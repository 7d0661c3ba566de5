"""Messages of a bundle's own making, on the channel of its isolate."""

import os
import time

from msgspec import Raw, msgpack
from runtime import mutation, query
from runtime.protocol.framing import frame
from runtime.protocol.messages import Chunk, Failed, Failure, Frame, Head, Level, Line, Reason, Ready, Returned, Syscall
from runtime.sdk.running import RUNNING

MANY = 8_000_000
NIL = Raw(b"\xc0")


def cid():
    return RUNNING.get().cid


def send(data):
    while data:
        try:
            data = data[os.write(3, data) :]
        except BlockingIOError:
            time.sleep(0)


def say(*messages):
    send(b"".join(map(frame, messages)))


def flood(*messages):
    data = b"".join(map(frame, messages)) * 1000
    while True:
        send(data)


def lists(many):
    return b"\xdd" + many.to_bytes(4, "big") + b"\x90" * many


def begun():
    say(Head(cid(), 200, [], b"", False))
    return cid()


def trickle(ctx):
    send((8 << 20).to_bytes(4, "little") + bytes(4 << 20))
    while True:
        send(b"x")
        time.sleep(0.0001)


def never_reads(ctx):
    while True:
        say(*(Syscall(cid(), sid, "run.query", Raw(msgpack.encode(["forging:large", {}]))) for sid in range(64)))
        time.sleep(3600)


FORGERIES = {
    "garbage": lambda ctx: send(os.getrandom(100_000)),
    "other_conversations": lambda ctx: say(*(Returned(number, NIL) for number in range(1, 100))),
    "empty_pieces": lambda ctx: flood(Chunk(begun(), b"", False)),
    "tiny_pieces": lambda ctx: flood(Chunk(begun(), b"x", False)),
    "pieces_without_credit": lambda ctx: flood(Chunk(begun(), b"x" * 100_000, False)),
    "lines": lambda ctx: flood(Line(cid(), Level.INFO, "x")),
    "own_lines": lambda ctx: flood(Line(0, Level.INFO, "x")),
    "syscalls": lambda ctx: flood(Syscall(cid(), 0, "db.get", Raw(b"\x91\xa1x"))),
    "heads": lambda ctx: say(Head(cid(), 200, [(b"", b"")] * 1_600_000, b"", True)),
    "layers": lambda ctx: say(Ready(("",) * MANY)),
    "frames": lambda ctx: say(Failed(cid(), Failure(Reason.RAISED, "E", "m", (Frame("", 1, "", ""),) * 1_000_000))),
    "split_head": lambda ctx: say(Head(cid(), 200, [(b"x", b"a\r\nset-cookie: stolen=1\r\n\r\n")], b"", True)),
    "status": lambda ctx: say(Head(cid(), -1, [], b"", True)),
    "trickle": trickle,
    "never_reads": never_reads,
}


@query
def many_lists(ctx):
    say(Returned(cid(), Raw(lists(MANY))))
    time.sleep(60)


@query
def many_lists_in_an_error(ctx):
    say(Failed(cid(), Failure(Reason.APPLICATION, "E", "m", (), lists(MANY))))
    time.sleep(60)


@query
def large(ctx):
    return "x" * 4_000_000


@query
def dies(ctx):
    time.sleep(0.2)
    os._exit(1)


@query
async def writes(ctx, syscall: str):
    """Ask for what only others may have, and tell what the host says to that."""
    arguments = {
        "db.insert": ["secrets", {"text": "forged"}],
        "db.delete": ["x"],
        "run.mutation": ["forging:kept", {}],
        "run.action": ["forging:kept", {}],
        "host.exec": ["id"],
    }[syscall]
    return str(await RUNNING.get().syscall(syscall, *arguments))


@mutation
async def kept(ctx):
    return await ctx.db.insert("secrets", {"text": "kept"})
