"""How do the rules become a filter that the kernel runs, and how is it put on?

Classic BPF, written here word by word and handed to seccomp(2). Knows nothing of which calls are good (`rules`).

Rules
1. The calling convention is checked first: a number means nothing before it is known whose number it is.
2. Every path through the program ends in a verdict, jumps go forward only, and there is no loop.
3. The program is built once, in the zygote; an isolate only puts it on.
4. A condition that is not met is EPERM; there is no path from a failed condition to "allow".
"""

import ctypes
import errno
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from runtime.sandbox.kernel.libc import kernel_call
from runtime.sandbox.kernel.numbers import Processor
from runtime.sandbox.kernel.rules import ALLOWED, ALLOWED_WITHOUT_POLL, HOSTILE, REFUSED, Condition, Width

ALLOW = 0x7FFF0000
KILL = 0x80000000  # the whole process, not one thread
EPERM = 0x00050000 | 1
ENOSYS = 0x00050000 | 38
NOTIFY = 0x7FC00000  # the call waits for the word of whoever holds the listener

# Offsets in struct seccomp_data; both processors are little-endian.
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_X32 = 0x40000000

LOAD, AND, RETURN, GO, IF_EQUAL, IF_AT_LEAST = 0x20, 0x54, 0x06, 0x05, 0x15, 0x35
_SET_MODE_FILTER = 1
_NEW_LISTENER = 1 << 3
# Linux 5.19: once somebody judges the call, only a deadly signal interrupts it; without it, it would be made twice.
_WAIT_KILLABLE = 1 << 5


class Step(NamedTuple):
    """One instruction: what to do, how far to jump when it holds and when not, and its number."""

    code: int
    when: int
    otherwise: int
    value: int


Program = list[Step]


def build(processor: Processor, verdicts: dict[int, Program] | None = None) -> Program:
    """Write the filter for one processor: an isolate's, or one of other verdicts by number; the rest is ENOSYS."""
    convention = [Step(LOAD, 0, 0, _ARCH), Step(IF_EQUAL, 1, 0, processor.audit), Step(RETURN, 0, 0, KILL)]
    number = [Step(LOAD, 0, 0, _NUMBER)]
    if processor.has_x32:
        number += [Step(IF_AT_LEAST, 0, 1, _X32), Step(RETURN, 0, 0, KILL)]
    return convention + number + _search(_intervals(_verdicts(processor.numbers) if verdicts is None else verdicts))


def _verdicts(numbers: dict[str, int]) -> dict[int, Program]:
    allowed = ALLOWED if "poll" in numbers else ALLOWED | ALLOWED_WITHOUT_POLL
    verdicts = {numbers[name]: [Step(RETURN, 0, 0, KILL)] for name in HOSTILE if name in numbers}
    verdicts |= {numbers[name]: [Step(RETURN, 0, 0, EPERM)] for name in REFUSED if name in numbers}
    verdicts |= {numbers[name]: _allow_if(conditions) for name, conditions in allowed.items() if name in numbers}
    return verdicts


def _intervals(verdicts: dict[int, Program]) -> list[tuple[int, Program]]:
    """Cut the line of numbers where the verdict changes: ``(first number, what to do from there on)``."""
    unknown = [Step(RETURN, 0, 0, ENOSYS)]
    every = ((number, verdicts.get(number, unknown)) for number in range(max(verdicts) + 2))
    return list(_where_it_changes(every))


def _where_it_changes(every: Iterator[tuple[int, Program]]) -> Iterator[tuple[int, Program]]:
    first = next(every)
    yield first
    for (_, before), (number, verdict) in pairwise((first, *every)):
        if verdict != before:
            yield number, verdict


def _search(intervals: list[tuple[int, Program]]) -> Program:
    """Find the interval by halving: eight comparisons where a list would need three hundred."""
    if len(intervals) == 1:
        return intervals[0][1]
    middle = len(intervals) // 2
    below, above = _search(intervals[:middle]), _search(intervals[middle:])
    pivot = intervals[middle][0]
    # A conditional jump reaches 255 steps; further ones go by an unconditional jump.
    if len(below) <= 255:
        return [Step(IF_AT_LEAST, len(below), 0, pivot), *below, *above]
    return [Step(IF_AT_LEAST, 0, 1, pivot), Step(GO, 0, 0, len(below)), *below, *above]


def _allow_if(conditions: tuple[Condition, ...]) -> Program:
    steps: Program = []
    for condition in conditions:
        steps += _check(condition)
    return [*steps, Step(RETURN, 0, 0, ALLOW)]


def _check(condition: Condition) -> Program:
    """Go on behind the last step if the condition holds, return EPERM if not."""
    at = _ARGUMENTS + 8 * condition.argument
    refuse = Step(RETURN, 0, 0, EPERM)
    steps: Program = []
    if condition.width == Width.LONG:
        steps += [Step(LOAD, 0, 0, at + 4), Step(IF_EQUAL, 1, 0, 0), refuse]
    steps.append(Step(LOAD, 0, 0, at))
    if condition.ignore:
        steps.append(Step(AND, 0, 0, ~condition.ignore & 0xFFFFFFFF))
    many = len(condition.values)
    steps += [Step(IF_EQUAL, many - index, 0, value) for index, value in enumerate(condition.values)]
    return [*steps, refuse]


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("when", ctypes.c_uint8),
        ("otherwise", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _Pointer(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("steps", ctypes.POINTER(_Instruction)))


class Filter:
    """A program in the form that the kernel takes."""

    def __init__(self, processor: Processor, program: Program) -> None:
        self._number = processor.numbers["seccomp"]
        self._steps = (_Instruction * len(program))(*(_Instruction(*step) for step in program))
        self._pointer = _Pointer(len(program), ctypes.cast(self._steps, ctypes.POINTER(_Instruction)))
        self._address = ctypes.addressof(self._pointer)

    def __len__(self) -> int:
        return len(self._steps)

    def put_on(self) -> None:
        """Bind this thread, and all that comes of it, to the program. There is no way back."""
        kernel_call("seccomp", self._number, _SET_MODE_FILTER, 0, self._address)

    def put_on_with_listener(self) -> int:
        """As `put_on`; return the descriptor on which calls that the program traps (`NOTIFY`) are heard of."""
        try:
            flags = _NEW_LISTENER | _WAIT_KILLABLE
            return kernel_call("seccomp", self._number, _SET_MODE_FILTER, flags, self._address)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return kernel_call("seccomp", self._number, _SET_MODE_FILTER, _NEW_LISTENER, self._address)
