"""Attacks on files, folders and descriptors."""

import ctypes
import fcntl
import io
import mmap
import os
import select
import termios
from pathlib import Path

from tests.escapes.kernel.registry import LIBC, Control, End, Target, attack, call

_AT_FDCWD = -100 & 0xFFFFFFFFFFFFFFFF


@attack()
def open_the_canary(target: Target) -> object:
    return Path(target.canary).read_text()


@attack()
def open_the_canary_below_python(target: Target) -> object:
    return call("openat", _AT_FDCWD, target.canary.encode(), os.O_RDONLY)


@attack()
def open_the_canary_by_openat2(target: Target) -> object:
    how = (ctypes.c_uint64 * 3)(os.O_RDONLY, 0, 0)
    return call("openat2", _AT_FDCWD, target.canary.encode(), ctypes.addressof(how), 24)


@attack()
def open_the_canary_with_the_c_library(target: Target) -> object:
    stream = LIBC.fopen(target.canary.encode(), b"r")
    if not stream:
        raise OSError(ctypes.get_errno(), "fopen")
    return stream


@attack()
def overwrite_the_canary(target: Target) -> object:
    return io.FileIO(target.canary, "w").write(b"broken")


@attack()
def create_a_file(target: Target) -> object:
    return os.open(f"{target.folder}/created", os.O_CREAT | os.O_WRONLY)


@attack()
def create_a_nameless_file(target: Target) -> object:
    return os.open(target.folder, os.O_TMPFILE | os.O_RDWR)


@attack()
def list_the_root(target: Target) -> object:
    return os.listdir("/")


@attack()
def ask_about_the_canary(target: Target) -> object:
    return os.stat(target.canary)


@attack()
def ask_about_the_canary_by_access(target: Target) -> object:
    result = LIBC.access(target.canary.encode(), os.R_OK)
    if result < 0:
        raise OSError(ctypes.get_errno(), "access")
    return result


@attack(control=Control.HARMFUL)
def remove_the_canary(target: Target) -> None:
    os.unlink(target.canary)


@attack(control=Control.HARMFUL)
def move_the_canary(target: Target) -> None:
    os.rename(target.canary, f"{target.folder}/moved")


@attack(control=Control.HARMFUL)
def make_the_canary_everybodys(target: Target) -> None:
    os.chmod(target.canary, 0o777)


@attack(control=Control.HARMFUL)
def cut_the_canary(target: Target) -> None:
    os.truncate(target.canary, 0)


@attack()
def link_to_the_canary(target: Target) -> None:
    os.symlink(target.canary, f"{target.folder}/link")


@attack()
def make_a_folder(target: Target) -> None:
    os.mkdir(f"{target.folder}/made")


@attack()
def make_a_fifo(target: Target) -> None:
    os.mkfifo(f"{target.folder}/fifo")


@attack()
def read_a_link(target: Target) -> object:
    return os.readlink("/proc/self/exe")


@attack()
def read_the_hosts_environment(target: Target) -> object:
    return Path(f"/proc/{target.host}/environ").read_bytes()


@attack()
def read_its_own_memory_map(target: Target) -> object:
    return Path("/proc/self/maps").read_bytes()


@attack()
def where_am_i(target: Target) -> object:
    return os.getcwd()


@attack()
def go_elsewhere(target: Target) -> None:
    os.chdir("/")


@attack()
def measure_the_disk(target: Target) -> object:
    return os.statvfs("/")


@attack()
def watch_a_folder(target: Target) -> object:
    return call("inotify_init1", 0)


@attack()
def memory_that_looks_like_a_file(target: Target) -> object:
    return os.memfd_create("x")


@attack(End.KILLED, control=Control.HARMFUL)
def a_secret_memory_file(target: Target) -> object:
    return call("memfd_secret", 0)


@attack(End.KILLED, control=Control.HARMFUL)
def a_file_by_its_handle(target: Target) -> object:
    handle = ctypes.create_string_buffer(136)
    return call("open_by_handle_at", _AT_FDCWD, ctypes.addressof(handle), 0)


@attack()
def a_pipe(target: Target) -> object:
    return os.pipe()


@attack()
def an_eventfd(target: Target) -> object:
    return os.eventfd(0)


@attack()
def an_epoll(target: Target) -> object:
    return select.epoll()


@attack()
def select_on_many(target: Target) -> object:
    return select.select([3], [], [], 0)


@attack()
def a_second_channel(target: Target) -> object:
    return os.dup(3)


@attack()
def a_channel_with_another_number(target: Target) -> object:
    return os.dup2(3, 0)


@attack()
def close_the_channel(target: Target) -> None:
    os.close(3)


@attack()
def change_the_channels_flags(target: Target) -> object:
    return fcntl.fcntl(3, fcntl.F_SETFL, os.O_NONBLOCK)


@attack()
def how_much_is_in_the_channel(target: Target) -> object:
    return fcntl.ioctl(3, termios.FIONREAD, b"\0" * 4)


@attack(control=Control.HARMFUL)
def read_standard_input(target: Target) -> object:
    return os.read(0, 1)


@attack(control=Control.HARMFUL)
def read_another_descriptor(target: Target) -> object:
    return os.read(4, 1)


@attack(control=Control.HARMFUL)
def read_standard_error(target: Target) -> object:
    return os.read(2, 1)


@attack(control=Control.HARMFUL)
def write_standard_output(target: Target) -> object:
    return os.write(1, b"x")


@attack(control=Control.HARMFUL)
def write_another_descriptor(target: Target) -> object:
    return os.write(4, b"x")


@attack(control=Control.HARMFUL)
def read_at_a_place(target: Target) -> object:
    return os.pread(3, 1, 0)


@attack()
def map_a_file(target: Target) -> object:
    return mmap.mmap(os.open(target.canary, os.O_RDONLY), 1, prot=mmap.PROT_READ)


@attack(control=Control.HARMFUL)
def map_the_channel(target: Target) -> object:
    return call("mmap", 0, 4096, 1, 2, 3, 0)


@attack()
def send_a_file(target: Target) -> object:
    return os.sendfile(3, os.open(target.canary, os.O_RDONLY), 0, 1)


@attack()
def splice_the_channel(target: Target) -> object:
    reader, writer = os.pipe()
    return os.splice(reader, 3, 1, flags=2) if os.write(writer, b"x") else None
