"""Does the filter say what the rules say, on both processors?

The program is run here step by step, as the kernel would: it can then be asked about a processor that is not at hand.
"""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.sandbox.kernel.numbers import Processor, Processors
from runtime.sandbox.kernel.rules import ALLOWED, ALLOWED_WITHOUT_POLL, HOSTILE, REFUSED
from runtime.sandbox.kernel.seccomp import ALLOW, ENOSYS, EPERM, KILL, Program, Step, build

LOAD, AND, RETURN, GO, IF_EQUAL, IF_AT_LEAST = 0x20, 0x54, 0x06, 0x05, 0x15, 0x35
PROCESSORS = [each.value for each in Processors]
PROGRAMS = {processor.name: build(processor) for processor in PROCESSORS}
every_processor = pytest.mark.parametrize("processor", PROCESSORS, ids=lambda processor: processor.name)

READ, WRITE, EXEC = 1, 2, 4
PRIVATE, ANONYMOUS, SHARED, FIXED = 2, 0x20, 1, 0x10


def run(program: Program, audit: int, number: int, arguments: tuple[int, ...]) -> int:
    words = {0: number, 4: audit}
    for index, argument in enumerate((*arguments, 0, 0, 0, 0, 0, 0)[:6]):
        words[16 + 8 * index] = argument & 0xFFFFFFFF
        words[20 + 8 * index] = argument >> 32
    at = accumulator = 0
    while True:
        step = Step(*program[at])
        at += 1
        match step.code:
            case 0x20:
                accumulator = words[step.value]
            case 0x54:
                accumulator &= step.value
            case 0x05:
                at += step.value
            case 0x15:
                at += step.when if accumulator == step.value else step.otherwise
            case 0x35:
                at += step.when if accumulator >= step.value else step.otherwise
            case 0x06:
                return step.value
            case _:
                raise AssertionError(step)


def ask(processor: Processor, name: str, *arguments: int) -> int:
    return run(PROGRAMS[processor.name], processor.audit, processor.numbers[name], arguments)


@every_processor
def test_every_call_gets_the_verdict_of_its_list(processor: Processor) -> None:
    allowed = set(ALLOWED) | (set() if "poll" in processor.numbers else set(ALLOWED_WITHOUT_POLL))
    for name in processor.numbers:
        verdict = ask(processor, name)
        if name in allowed:
            assert verdict in (ALLOW, EPERM), name
        elif name in HOSTILE:
            assert verdict == KILL, name
        elif name in REFUSED:
            assert verdict == EPERM, name
        else:
            assert verdict == ENOSYS, name


@every_processor
def test_another_calling_convention_is_killed_whatever_it_calls(processor: Processor) -> None:
    for audit in (0x40000003, 0x40000028, 0, *(other.audit for other in PROCESSORS if other is not processor)):
        for number in (0, 3, 20, 60, 93, 1000):
            assert run(PROGRAMS[processor.name], audit, number, (3,)) == KILL


def test_the_x32_range_is_killed() -> None:
    processor = Processors.X86_64.value
    for number in (0x40000000, 0x40000001, 0x40000000 + 512, 0xFFFFFFFF):
        assert run(PROGRAMS["x86_64"], processor.audit, number, (3,)) == KILL


@every_processor
@pytest.mark.parametrize(
    ("name", "arguments", "verdict"),
    [
        ("read", (3,), ALLOW),
        ("read", (0,), EPERM),
        ("read", (2,), EPERM),
        ("write", (2,), ALLOW),
        ("write", (3,), ALLOW),
        ("write", (1,), EPERM),
        ("mmap", (0, 1, READ | WRITE, PRIVATE | ANONYMOUS), ALLOW),
        ("mmap", (0, 1, 0, PRIVATE | ANONYMOUS | 0x4000), ALLOW),
        ("mmap", (0, 1, READ | EXEC, PRIVATE | ANONYMOUS), EPERM),
        ("mmap", (0, 1, READ, PRIVATE), EPERM),
        ("mmap", (0, 1, READ, SHARED | ANONYMOUS), EPERM),
        ("mmap", (0, 1, READ, PRIVATE | ANONYMOUS | FIXED), EPERM),
        ("mmap", (0, 1, READ, PRIVATE | ANONYMOUS | 1 << 40), EPERM),
        ("mprotect", (0, 1, READ | WRITE), ALLOW),
        ("mprotect", (0, 1, EXEC), EPERM),
        ("mprotect", (0, 1, READ | 1 << 32), EPERM),
        ("mremap", (0, 1, 1, 1), ALLOW),
        ("mremap", (0, 1, 1, 3), EPERM),
        ("madvise", (0, 1, 4), ALLOW),
        ("madvise", (0, 1, 100), EPERM),
        ("futex", (0, 128 | 9), ALLOW),
        ("futex", (0, 6), EPERM),
        ("futex", (0, 3), EPERM),
        ("clock_gettime", (7,), ALLOW),
        ("clock_gettime", ((~1000 << 3 | 2) & 0xFFFFFFFFFFFFFFFF,), EPERM),
        ("clone", (17,), EPERM),
        ("clone3", (), ENOSYS),
    ],
)
def test_conditions_look_at_arguments(
    processor: Processor, name: str, arguments: tuple[int, ...], verdict: int
) -> None:
    assert ask(processor, name, *arguments) == verdict


@settings(deadline=None)
@given(st.integers(0, 0xFFFFFFFF), st.tuples(*[st.integers(0, 2**64 - 1)] * 6))
def test_whatever_is_allowed_is_on_the_list(number: int, arguments: tuple[int, ...]) -> None:
    for processor in PROCESSORS:
        if run(PROGRAMS[processor.name], processor.audit, number, arguments) == ALLOW:
            name = next(name for name, each in processor.numbers.items() if each == number)
            assert name in ALLOWED or name in ALLOWED_WITHOUT_POLL


@every_processor
def test_the_program_is_one_that_the_kernel_takes(processor: Processor) -> None:
    program = PROGRAMS[processor.name]
    assert len(program) < 4096
    for at, step in enumerate(program):
        assert 0 <= step.when < 256 and 0 <= step.otherwise < 256
        if step.code in (IF_EQUAL, IF_AT_LEAST):
            assert at + 1 + max(step.when, step.otherwise) < len(program)
        if step.code == GO:
            assert at + 1 + step.value < len(program)
    assert program[-1].code == RETURN


def test_every_name_on_the_rules_page_is_a_call_that_exists() -> None:
    known = set[str]().union(*(processor.numbers for processor in PROCESSORS))
    assert (set(ALLOWED) | set(ALLOWED_WITHOUT_POLL) | REFUSED | HOSTILE) - known == set()


def test_no_call_is_on_two_lists() -> None:
    assert set() == HOSTILE & REFUSED
    assert HOSTILE & (set(ALLOWED) | set(ALLOWED_WITHOUT_POLL)) == set()
    # ppoll is refused where there is a poll, and allowed where there is none.
    assert REFUSED & set(ALLOWED) == set()


@pytest.mark.parametrize(
    ("processor", "header"),
    [
        (Processors.X86_64.value, "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        (Processors.AARCH64.value, "/usr/include/asm-generic/unistd.h"),
    ],
    ids=["x86_64", "aarch64"],
)
def test_the_numbers_are_those_of_the_headers(processor: Processor, header: str) -> None:
    if not Path(header).exists():
        pytest.skip("no kernel headers on this machine")
    lines = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\s", Path(header).read_text())
    names = {name: int(number) for name, number in lines if name in processor.numbers}
    assert len(names) > 250
    assert {name: number for name, number in names.items() if processor.numbers[name] != number} == {}
