"""Every kernel call by its number: what is refused must be refused in the way that the rules say."""

from functools import partial

from runtime.sandbox.kernel.rules import ALLOWED, ALLOWED_WITHOUT_POLL, HOSTILE, REFUSED
from tests.escapes.kernel.registry import NUMBERS, Control, End, Target, attack, call, outcome_of, raw

_ALLOWED = set(ALLOWED) | (set() if "poll" in NUMBERS else set(ALLOWED_WITHOUT_POLL))
_LAST = 1024
# x86_64's uretprobe and uprobe: Linux lets them past every filter, and answers SIGILL outside of a probe's own code.
_PAST_EVERY_FILTER = {335, 336} if "poll" in NUMBERS else set()


@attack(control=Control.HARMFUL)
def every_refused_call(target: Target) -> object:
    names = [name for name in REFUSED - _ALLOWED if name in NUMBERS]
    ended = {name: outcome_of(partial(call, name, 0, 0, 0, 0, 0, 0)) for name in names}
    wrong = {name: word for name, word in ended.items() if word != "EPERM"}
    if wrong:
        raise AssertionError(wrong)
    raise PermissionError(1, f"{len(ended)} calls")


@attack(End.ENOSYS, control=Control.HARMFUL)
def every_unknown_call(target: Target) -> object:
    listed = {NUMBERS[name] for name in _ALLOWED | REFUSED | HOSTILE if name in NUMBERS} | _PAST_EVERY_FILTER
    for number in range(_LAST):
        if number not in listed and (word := outcome_of(partial(raw, number, 0, 0, 0, 0, 0, 0))) != "ENOSYS":
            raise AssertionError(f"{number}: {word}")
    raise OSError(38, "all of them")


def _hostile(name: str) -> None:
    def run(target: Target) -> object:
        return call(name, 0, 0, 0, 0, 0, 0)

    run.__name__ = f"hostile_{name}"
    attack(End.KILLED, control=Control.HARMFUL)(run)


for _name in sorted(HOSTILE):
    if _name in NUMBERS:
        _hostile(_name)
