"""How does an isolate come into the world?

The zygote is a process of its own, started with an empty environment. It imports everything an isolate may need, then
forks one for every `Fork` it is sent, and tells the host when one of them ends. Knows nothing of tenants: none of their
bytes ever reach it.

Rules
1. One thread, and no descriptor but the control socket (0, 1 and 2 are ``/dev/null``): a fork copies both.
2. A child never returns into the zygote's loop: it becomes an isolate, or it ends.
3. The guest is prepared before the lock-down and started after the proof. ``--guest`` names another one for tests that
   run hostile code with nothing but the kernel's layer around it.
4. The host's end is the zygote's end (end of file, and the parent-death signal), and the zygote's end is its isolates'.
"""

import argparse
import gc
import importlib
import importlib.util
import os
import signal
import socket
import sys
from contextlib import suppress
from types import FrameType, ModuleType
from typing import NoReturn

import msgspec

from runtime.protocol.forking import Exited, Fork, Forked, Layer, Prepared, Refused, Requirement, ZygoteMessage
from runtime.sandbox import importer
from runtime.sandbox.guest.rehearsal import rehearse
from runtime.sandbox.kernel import libc, lockdown
from runtime.sandbox.kernel.lockdown import Plan
from runtime.sandbox.kernel.report import examine
from runtime.sandbox.kernel.rules import CHANNEL

_CONTROL = 3
_GUEST = "runtime.sandbox.guest_main"
_DATAGRAM = 4096
# The size classes of Python's allocator that a bytes object can have, and how many of each fill every half-full page.
_BYTES_HEAD = sys.getsizeof(b"")
_SIZES = range(48, 513, 16)
_OF_EACH_SIZE = 300
_filling: list[bytes] = []


class Zygote:
    """A loop around fork: what it needs is made before the first, because every child gets a copy."""

    def __init__(self, control: socket.socket, guest: ModuleType, plan: Plan, layers: tuple[Layer, ...]) -> None:
        self._control = control
        self._guest = guest
        self._plan = plan
        self._layers = layers
        self._ppoll = plan.processor.numbers["ppoll"]
        self._decode = msgspec.msgpack.Decoder(Fork).decode
        self._encode = msgspec.msgpack.Encoder().encode

    def serve(self) -> None:
        """Fork whenever the host asks, until the host is gone."""
        # Blocked except while waiting: an end between two instructions is then not missed but waits for the wait. It
        # stays blocked in the children, which have none of their own.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        signal.signal(signal.SIGCHLD, _interrupt_the_wait)
        self._say(Prepared(self._layers))
        while True:
            self._report_the_dead()
            if libc.wait_for(_CONTROL, self._ppoll):
                data, descriptors, _, _ = socket.recv_fds(self._control, _DATAGRAM, 2)
                if not data:
                    return
                self._fork(self._decode(data).number, descriptors)

    def _fork(self, number: int, descriptors: list[int]) -> None:
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._say(Refused(number, error.strerror or "unknown"))
        else:
            if pid == 0:
                self._become_isolate(parent, *descriptors)
            # Not yet waited for, so the number cannot belong to another process by now.
            pidfd = os.pidfd_open(pid)
            self._say(Forked(number, pid), pidfd)
            os.close(pidfd)
        for descriptor in descriptors:
            os.close(descriptor)

    def _become_isolate(self, parent: int, channel: int, stderr: int) -> NoReturn:
        try:
            self._control.detach()
            lockdown.keep_only(channel, stderr)
            self._guest.prepare()
            lockdown.lock_down(self._plan, parent)
            lockdown.prove(self._plan.processor)
            layers = tuple(layer.name for layer in self._layers if layer.holds)
        except BaseException as error:
            lockdown.give_up(error)
        try:
            self._guest.main(layers)
        finally:
            # Not sys.exit: what the interpreter does at its end is the zygote's business and needs more than 25 calls.
            os._exit(1)

    def _report_the_dead(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._say(Exited(pid, os.waitstatus_to_exitcode(status)))

    def _say(self, message: ZygoteMessage, *descriptors: int) -> None:
        socket.send_fds(self._control, [self._encode(message)], descriptors)


def _interrupt_the_wait(_signal: int, _frame: FrameType | None) -> None:
    """Do nothing: that a handler exists is what makes the wait end."""


def main(arguments: list[str]) -> int:
    """Serve as a zygote, or print what each layer of the wall can do here."""
    parser = argparse.ArgumentParser(prog="zygote_main", description="Warren's zygote. Started by the server.")
    parser.add_argument("--report", action="store_true", help="print, as JSON, which layers hold on this machine")
    parser.add_argument("--control", type=int, default=_CONTROL, help="descriptor of the control socket")
    parser.add_argument("--guest", default=_GUEST, help="module, or file, with prepare() and main(layers)")
    chosen = parser.parse_args(arguments)
    plan, layers = examine()
    if chosen.report:
        print(msgspec.json.format(msgspec.json.encode(layers)).decode())
        return 0 if all(map(_is_fine, layers)) else 1
    control = _take_control(chosen.control)
    if not all(map(_is_fine, layers)):
        socket.send_fds(control, [msgspec.msgpack.encode(Prepared(layers))], ())
        return 1
    guest = _load(chosen.guest)
    _settle(plan)
    with suppress(BrokenPipeError, ConnectionResetError):  # the host is gone
        Zygote(control, guest, plan, layers).serve()
    return 0


def _is_fine(layer: Layer) -> bool:
    return layer.holds or layer.requirement is not Requirement.MANDATORY


def _take_control(descriptor: int) -> socket.socket:
    """Put the control socket where no descriptor that arrives later can be confused with a child's 2 or 3."""
    if descriptor != _CONTROL:
        os.dup2(descriptor, _CONTROL, inheritable=False)
        os.close(descriptor)
    return socket.socket(fileno=_CONTROL)


def _load(guest: str) -> ModuleType:
    """Import the guest, and then everything that tenants may import: after that, nothing can be imported any more."""
    module = _import_file(guest) if guest.endswith(".py") else importlib.import_module(guest)
    importer.preload()
    if guest == _GUEST:
        rehearse()
    return module


def _import_file(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("guest", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _settle(plan: Plan) -> None:
    """Become what every child should be a copy of: nothing open, one thread, no garbage, nothing left to do once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the host's to handle
    lockdown.settle(plan)
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    lockdown.close_from(CHANNEL + 1)
    if os.listdir("/proc/self/task") != [str(os.getpid())]:
        raise RuntimeError("the zygote has more than one thread; a module that it imports starts them")
    _fill_the_gaps()
    # Without this the first full collection in a child would touch, and so copy, every object of the zygote: 8 MiB.
    gc.collect()
    gc.freeze()


def _fill_the_gaps() -> None:
    """Use up what is free on pages that are half full.

    What a child allocates would land there, one object a page, and copy every one of them. Measured: 0.25 MiB of each
    isolate's 4, for 3 MiB that all of them share.
    """
    for size in _SIZES:
        _filling.extend(bytes(size - _BYTES_HEAD) for _ in range(_OF_EACH_SIZE))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
