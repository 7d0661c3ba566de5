"""Attacks on memory: executable, shared, fixed, endless; and the other calling conventions of the processor."""

import ctypes
import mmap
import os
import platform
import tempfile

from runtime.limits import GUEST_MEMORY, MIB
from tests.escapes.kernel.registry import LIBC, NUMBERS, Control, End, Target, attack, call, outcome_of, raw

_READ, _WRITE, _EXEC = 1, 2, 4
_PRIVATE_ANONYMOUS = 0x22
_NO_DESCRIPTOR = 0xFFFFFFFF
_PAGE = mmap.PAGESIZE


def _code(instructions: bytes) -> "ctypes._CFunctionType | None":
    """Machine code as a function, put into executable memory while that is still possible."""
    if platform.machine() != "x86_64":
        return None
    with tempfile.TemporaryFile() as file:
        file.write(instructions)
        file.flush()
        LIBC.mmap.restype = ctypes.c_void_p
        address = LIBC.mmap(None, ctypes.c_size_t(_PAGE), _READ | _EXEC, 2, file.fileno(), ctypes.c_long(0))
    return ctypes.CFUNCTYPE(ctypes.c_long)(address)


# mov eax, 20 (getpid, to a 32-bit process); int 0x80; ret
_GETPID_AS_32_BIT = _code(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")


@attack()
def executable_memory(target: Target) -> object:
    return call("mmap", 0, _PAGE, _READ | _EXEC, _PRIVATE_ANONYMOUS, _NO_DESCRIPTOR, 0)


@attack()
def memory_that_is_written_and_run(target: Target) -> object:
    return call("mmap", 0, _PAGE, _READ | _WRITE | _EXEC, _PRIVATE_ANONYMOUS, _NO_DESCRIPTOR, 0)


@attack()
def written_memory_made_executable(target: Target) -> object:
    page = call("mmap", 0, _PAGE, _READ | _WRITE, _PRIVATE_ANONYMOUS, _NO_DESCRIPTOR, 0)
    return call("mprotect", page, _PAGE, _READ | _EXEC)


@attack(End.KILLED)
def memory_made_executable_by_a_key(target: Target) -> object:
    page = call("mmap", 0, _PAGE, _READ | _WRITE, _PRIVATE_ANONYMOUS, _NO_DESCRIPTOR, 0)
    return call("pkey_mprotect", page, _PAGE, _READ | _EXEC, -1 & 0xFFFFFFFFFFFFFFFF)


@attack(control=Control.HARMFUL)
def rights_hidden_in_the_upper_half(target: Target) -> object:
    return call("mmap", 0, _PAGE, _READ | 1 << 32, _PRIVATE_ANONYMOUS, _NO_DESCRIPTOR, 0)


@attack()
def shared_memory(target: Target) -> object:
    return mmap.mmap(-1, _PAGE)


@attack()
def memory_at_a_fixed_place(target: Target) -> object:
    return call("mmap", 0x10000000, _PAGE, _READ, _PRIVATE_ANONYMOUS | 0x10, _NO_DESCRIPTOR, 0)


@attack()
def memory_moved_to_a_fixed_place(target: Target) -> object:
    page = call("mmap", 0, _PAGE, _READ, _PRIVATE_ANONYMOUS, _NO_DESCRIPTOR, 0)
    return call("mremap", page, _PAGE, _PAGE, 3, 0x20000000)


@attack(control=Control.HARMFUL)
def memory_locked_down(target: Target) -> object:
    return call("mlockall", 3)


@attack()
def system_v_shared_memory(target: Target) -> object:
    identity = call("shmget", 0, _PAGE, 0o1600)
    return call("shmctl", identity, 0, 0)


@attack()
def memory_advised_away(target: Target) -> object:
    page = call("mmap", 0, _PAGE, _READ | _WRITE, _PRIVATE_ANONYMOUS, _NO_DESCRIPTOR, 0)
    return call("madvise", page, _PAGE, 20)  # MADV_COLD: harmless, and not on the list


@attack()
def a_futex_with_priority(target: Target) -> object:
    word = ctypes.c_uint32(0)
    return call("futex", ctypes.addressof(word), 8, 0, 0)  # FUTEX_TRYLOCK_PI


@attack(End.MEMORY, control=Control.HARMFUL)
def more_memory_than_there_is(target: Target) -> object:
    return bytearray(10 * 1024 * MIB)


@attack(End.MEMORY, control=Control.HARMFUL)
def memory_piece_by_piece(target: Target) -> object:
    hoard: list[bytearray] = []
    while len(hoard) * MIB <= 2 * GUEST_MEMORY:
        hoard.append(bytearray(MIB))
    return hoard


@attack(End.MEMORY, control=Control.HARMFUL)
def memory_in_small_objects(target: Target) -> object:
    return [[index] for index in range(16 * GUEST_MEMORY // 100)]


@attack(control=Control.HARMFUL)
def every_descriptor_there_is(target: Target) -> object:
    return [os.open("/dev/null", os.O_RDONLY) for _ in range(100_000)]


@attack(End.KILLED, control=Control.HARMFUL)
def a_call_in_the_x32_convention(target: Target) -> object:
    return raw(NUMBERS["getpid"] | 0x40000000)


@attack(End.KILLED, control=Control.HARMFUL)
def a_negative_call(target: Target) -> object:
    return raw(-1 & 0xFFFFFFFFFFFFFFFF)


@attack(End.KILLED)
def a_32_bit_call(target: Target) -> object:
    assert _GETPID_AS_32_BIT is not None
    return _GETPID_AS_32_BIT()


@attack(control=Control.HARMFUL)
def a_flood_on_standard_error(target: Target) -> object:
    for _ in range(1000):
        word = outcome_of(lambda: os.write(2, b"x" * 65536))
        if word not in ("done", "EAGAIN"):
            raise AssertionError(word)
    raise PermissionError(1, "the flood went nowhere")
