"""Where do lanes come from?

A process of its own, started by name with an empty environment, that forks a keeper for every `Open` it is sent; the
keeper forks the tenant's program. Knows nothing of tenants: what an order holds goes to the keeper unread.

Rules
1. One thread, and no descriptor but the control socket: a fork copies both.
2. A keeper never returns into the launcher's loop. Nobody waits for it here; the host hears of its end on its line.
3. The host's end is the launcher's end (end of file, and the parent-death signal), and that of every keeper.
"""

import argparse
import gc
import os
import signal
import socket
import sys
from contextlib import suppress

import msgspec

from runtime.protocol.forking import Layer, Requirement
from runtime.protocol.lanes import Order, Prepared, Refused
from runtime.sandbox.kernel import libc, lockdown
from runtime.sandbox.lane.confine import Ends, LanePlan
from runtime.sandbox.lane.keeper import keep
from runtime.sandbox.lane.report import examine

_CONTROL = 3
_DATAGRAM = 4096


def main(arguments: list[str]) -> int:
    """Open lanes, or print what each layer of their wall can do here."""
    parser = argparse.ArgumentParser(prog="launcher", description="Opens lanes. Started by the server.")
    parser.add_argument("--report", action="store_true", help="print, as JSON, which layers hold on this machine")
    parser.add_argument("--control", type=int, default=_CONTROL, help="descriptor of the control socket")
    chosen = parser.parse_args(arguments)
    plan, layers = examine()
    if chosen.report:
        print(msgspec.json.format(msgspec.json.encode(layers)).decode())
        return 0 if all(map(_is_fine, layers)) else 1
    control = _settle(chosen.control)
    with suppress(BrokenPipeError, ConnectionResetError):  # the host is gone
        control.send(msgspec.msgpack.encode(Prepared(layers)))
        if plan is not None and all(map(_is_fine, layers)):
            _serve(control, plan)
    return 0


def _is_fine(layer: Layer) -> bool:
    return layer.holds or layer.requirement is not Requirement.MANDATORY


def _settle(descriptor: int) -> socket.socket:
    """Become what every keeper should be a copy of: nothing open but the control socket, no garbage."""
    if descriptor != _CONTROL:
        os.dup2(descriptor, _CONTROL, inheritable=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the host's to handle
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    lockdown.close_from(_CONTROL + 1)
    gc.collect()
    gc.freeze()
    return socket.socket(fileno=_CONTROL)


def _serve(control: socket.socket, plan: LanePlan) -> None:
    launcher = os.getpid()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended keepers disappear by themselves
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, _DATAGRAM, 4)
        if not data:
            return
        try:
            pid = os.fork()
        except OSError as error:
            with socket.socket(fileno=os.dup(descriptors[0])) as line:
                line.send(msgspec.msgpack.encode(Refused(f"no process for a keeper: {error.strerror}")))
            pid = -1
        if pid == 0:
            try:
                _become_keeper(control, plan, descriptors, launcher)
            finally:
                os._exit(1)
        for descriptor in descriptors:
            os.close(descriptor)


def _become_keeper(control: socket.socket, plan: LanePlan, descriptors: list[int], launcher: int) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    control.close()
    line, channel, stderr, file = descriptors
    with open(file, "rb") as written:
        order = msgspec.msgpack.decode(written.read(), type=Order)
    keep(plan, order, Ends(channel, stderr, line), launcher)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
