"""What can hostile code do with the kernel's layer alone around it?

Every attack of `tests/escapes/kernel` runs in an isolate of its own, straight after the lock-down and without the
language layer. It must end in the way that is written beside it, and the world outside must not have noticed.
"""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.escapes.kernel import guest
from tests.escapes.kernel.lab import Lab, World, controls
from tests.escapes.kernel.registry import ATTACKS, Control, End

_ = guest  # imported for its attacks

# What a locked isolate says and how its process ends.
_STATUS = {End.KILLED: {-signal.SIGSYS}, End.CRASHED: {-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS}}
_WORDS = {End.KILLED: "", End.CRASHED: ""}
_BY_HAND = {End.ENDLESS, End.SAYS}  # see test_kernel_life.py


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    lab = Lab()
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def world(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    neighbour = lab.isolate()
    world = World(tmp_path_factory.mktemp("world"), neighbour.pid)
    yield world
    assert not neighbour.gone
    world.close()
    neighbour.close()


@pytest.mark.parametrize("name", sorted(name for name, each in ATTACKS.items() if each.end not in _BY_HAND))
def test_the_kernels_layer_alone_contains(name: str, lab: Lab, world: World) -> None:
    end = ATTACKS[name].end
    word, status = lab.attack(name, world.target)
    assert (word, status in _STATUS.get(end, {0})) == (_WORDS.get(end, end.value), True), status
    assert world.touched() == []


def test_the_same_attacks_succeed_without_a_wall(lab: Lab, tmp_path: Path) -> None:
    neighbour = lab.isolate()
    world = World(tmp_path, neighbour.pid)
    ended = controls(world.target)
    world.close()
    neighbour.close()
    assert set(ended) == {name for name, each in ATTACKS.items() if each.control is Control.RUN}
    assert {name: word for name, word in ended.items() if word != "done"} == {}
