"""Doors of the process: exits, signals, files, sockets, threads, its own memory."""

import ctypes
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time

from runtime import env

libc = ctypes.CDLL(None, use_errno=True)


def tried(*attempts):
    """What came of each: the result, or the name of the exception."""
    told = []
    for attempt in attempts:
        try:
            told.append(repr(attempt()))
        except BaseException as error:
            told.append(type(error).__name__)
    return " ".join(told)


def leave(ctx):
    os._exit(0)


def leave_by_libc(ctx):
    libc._exit(0)


def crash(ctx):
    ctypes.string_at(1)


def abort(ctx):
    os.abort()


def kill_parent(ctx):
    os.kill(os.getppid(), signal.SIGKILL)


def kill_everybody(ctx):
    libc.syscall(62, -1, 9)


def execute(ctx):
    libc.execve(b"/bin/sh", (ctypes.c_char_p * 1)(None), (ctypes.c_char_p * 1)(None))


def fork(ctx):
    return tried(os.fork, lambda: libc.fork(), lambda: subprocess.run(["/bin/true"]))


def thread(ctx):
    return tried(threading.Thread(target=print).start)


def files(ctx):
    canary = str(env.get("CANARY"))
    return tried(
        lambda: open(canary, "w"),
        lambda: open("/etc/hostname").read(),
        lambda: open("/proc/self/environ").read(),
        lambda: open("/proc/self/mem", "rb"),
        lambda: os.listdir("/"),
        lambda: os.unlink(canary),
        lambda: os.stat(canary),
    )


def network(ctx):
    port = int(env.get("LISTENER"))
    return tried(
        lambda: socket.create_connection(("127.0.0.1", port)),
        lambda: socket.socket(socket.AF_UNIX),
        lambda: socket.socketpair(),
        lambda: libc.socket(2, 1, 0) if libc.socket(2, 1, 0) >= 0 else 1 / 0,
    )


def close_channel(ctx):
    return tried(lambda: os.close(3), lambda: os.close(2), lambda: os.dup2(2, 3))


def deaf_to_signals(ctx):
    tried(lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN), lambda: signal.pthread_sigmask(0, {signal.SIGUSR1}))
    while True:
        pass


def surroundings(ctx):
    """Everything of the host that can be found in this process: variables, arguments, and every text it holds."""
    found = [*os.environ.items(), sys.argv, sys.orig_argv]
    held = [thing for thing in gc.get_objects() if isinstance(thing, dict | list | tuple)]
    words = {word for thing in held for word in _words(thing) if "CANARY-" in word or "|" in word}
    return repr(found) + repr(words)


def _words(thing):
    things = [*thing.keys(), *thing.values()] if isinstance(thing, dict) else thing
    return [word for word in things if type(word) is str and len(word) < 500]


class Undead:
    def __del__(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            pass


def spin_when_deleted(ctx):
    circle = [Undead()]
    circle.append(circle)
    return "left"


def write_to_stderr(ctx):
    os.write(2, b"\x1b[2J\nWARNING warren: forged\n" * 100)
    os._exit(1)


DOORS = {
    function.__name__: function
    for function in (
        *(leave, leave_by_libc, crash, abort, kill_parent, kill_everybody, execute, fork, thread, files, network),
        *(close_channel, deaf_to_signals, surroundings, spin_when_deleted, write_to_stderr),
    )
}
