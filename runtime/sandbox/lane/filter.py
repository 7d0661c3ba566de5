"""How do the lane's rules become a filter?

As an isolate's do (`kernel.seccomp`), with more verdicts: alternatives, calls that are trapped, and calls that succeed
without being made. Knows nothing of which calls are good (`rules`).

Rules
1. Every alternative ends in "allow" or goes on behind its last step; behind the last alternative stands EPERM.
2. Without a network, what would be trapped is refused with EACCES: nothing is ever let through because nobody listens.
"""

from dataclasses import dataclass
from enum import Enum, auto

from runtime.sandbox.kernel.numbers import Processor
from runtime.sandbox.kernel.rules import Condition, Width
from runtime.sandbox.kernel.seccomp import (
    ALLOW,
    AND,
    ENOSYS,
    EPERM,
    GO,
    IF_EQUAL,
    LOAD,
    NOTIFY,
    RETURN,
    Filter,
    Program,
    Step,
    build,
)
from runtime.sandbox.lane.rules import ABSENT, ALLOWED, PACED, PRETENDED, SIGNALS, TRAPPED, Alternatives

_EACCES = 0x00050000 | 13
_PRETEND = 0x00050000  # an errno of 0: the caller is told that it was done
_ARGUMENTS = 16


class Network(Enum):
    """What becomes of a connect."""

    JUDGED = auto()  # trapped, for the host to judge and to make
    NONE = auto()


class Signals(Enum):
    """How far a signal may go."""

    LANE = auto()  # the kernel keeps it inside the lane
    ITSELF = auto()  # nothing does: the filter lets through what names the caller and its group


class Tasks(Enum):
    """Who sees to it that there are not too many processes and threads."""

    COUNTED = auto()  # the kernel, by their uid
    PACED = auto()  # the host, who lets each be made in its turn


@dataclass(frozen=True, slots=True)
class Choice:
    """What a lane's filter has to do because nothing else does it. ``pid`` is the lane's first process."""

    network: Network
    signals: Signals
    tasks: Tasks
    pid: int


def lane_filter(processor: Processor, choice: Choice) -> Filter:
    """Write the filter of one lane."""
    return Filter(processor, build(processor, _verdicts(processor.numbers, choice)))


def _verdicts(numbers: dict[str, int], choice: Choice) -> dict[int, Program]:
    trap = NOTIFY if choice.network is Network.JUDGED else _EACCES
    to_itself: Alternatives = ((Condition(0, (0, choice.pid)),),)
    kill: Alternatives = ((),) if choice.signals is Signals.LANE else to_itself
    allowed = ALLOWED | dict.fromkeys(SIGNALS, kill)
    verdicts = {number: _end(EPERM) for number in numbers.values()}
    verdicts |= {numbers[name]: _end(ENOSYS) for name in ABSENT if name in numbers}
    verdicts |= {numbers[name]: _end(_PRETEND) for name in PRETENDED if name in numbers}
    verdicts |= {numbers[name]: _end(trap) for name in TRAPPED}
    verdicts |= {numbers[name]: _any_of(each, ALLOW) for name, each in allowed.items() if name in numbers}
    if choice.tasks is Tasks.PACED:
        verdicts |= {numbers[name]: _any_of(allowed[name], NOTIFY) for name in PACED if name in numbers}
    return verdicts


def _end(verdict: int) -> Program:
    return [Step(RETURN, 0, 0, verdict)]


def _any_of(alternatives: Alternatives, verdict: int) -> Program:
    if not all(alternatives):
        return _end(verdict)
    steps: Program = []
    for conditions in alternatives:
        steps += _all_of(conditions, verdict)
    return [*steps, *_end(EPERM)]


def _all_of(conditions: tuple[Condition, ...], verdict: int) -> Program:
    """Return the verdict if every condition holds; go on behind the last step if one does not."""
    steps: Program = _end(verdict)
    for condition in reversed(conditions):
        steps = _check(condition, behind=len(steps)) + steps
    return steps


def _check(condition: Condition, behind: int) -> Program:
    """Go on with the next step if the condition holds; jump over ``behind`` more steps if not."""
    at = _ARGUMENTS + 8 * condition.argument
    many = len(condition.values)
    steps: Program = [Step(LOAD, 0, 0, at)]
    if condition.ignore:
        steps.append(Step(AND, 0, 0, ~condition.ignore & 0xFFFFFFFF))
    steps += [Step(IF_EQUAL, many - index, 0, value) for index, value in enumerate(condition.values)]
    steps.append(Step(GO, 0, 0, behind))
    if condition.width == Width.LONG:
        steps = [Step(LOAD, 0, 0, at + 4), Step(IF_EQUAL, 0, len(steps) + behind, 0), *steps]
    return steps
