"""A guest that does what it is told: one attack, straight after the lock-down, with no language layer around it.

Started as the zygote's ``--guest``; also as a script, to run attacks without a wall. It is told by one line of JSON on
its channel, and answers with one word.
"""

import json
import os
import socket
import sys
from functools import partial
from pathlib import Path
from typing import NoReturn

# As a guest it is loaded by its file, and nothing beside it could be imported.
sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.escapes.kernel import files, memory, network, processes, sweeps
from tests.escapes.kernel.registry import ATTACKS, Control, Target, outcome_of

FAMILIES = (files, memory, network, processes, sweeps)
CHANNEL = 3


def prepare() -> None:
    """What hostile code could have arranged before the lock-down is arranged when the modules are imported."""


def main(layers: tuple[str, ...]) -> NoReturn:
    """Say which layers hold, wait for an order, carry it out, answer."""
    os.write(CHANNEL, json.dumps(layers).encode() + b"\n")
    order = json.loads(_line())
    chosen, target = ATTACKS[order["attack"]], Target(**order["target"])
    word = outcome_of(lambda: chosen.run(target))
    os.write(CHANNEL, word.encode() + b"\n")
    os._exit(0)


def _line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(CHANNEL, 65536)
        if not piece:
            os._exit(0)
        line += piece
    return line


def controls(target: Target) -> dict[str, str]:
    """Run every attack that may be run without a wall, each in a process of its own; how they ended."""
    ended = {}
    for name, each in ATTACKS.items():
        if each.control is Control.RUN:
            reader, writer = os.pipe()
            if (pid := os.fork()) == 0:
                _, guests_end = socket.socketpair()
                word = os.dup(writer)
                os.dup2(guests_end.fileno(), CHANNEL)
                os.write(word, outcome_of(partial(each.run, target)).encode())
                os._exit(0)
            os.close(writer)
            ended[name] = os.read(reader, 100).decode()
            os.close(reader)
            os.waitpid(pid, 0)
    return ended


if __name__ == "__main__":
    print(json.dumps(controls(Target(**json.loads(sys.argv[1])))))
