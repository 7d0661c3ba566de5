"""How many files are open: by deployment, by who opened them, and together."""

import pytest

from runtime import limits
from runtime.limits import Limit
from runtime.names import DeploymentName
from runtime.syscalls.storage.room import NoRoom, Room

NAME, OTHER = DeploymentName("happy-otter-123"), DeploymentName("brave-heron-456")


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    monkeypatch.setattr(limits, "FILES_OPEN", Limit(2, "files", "for this test"))
    monkeypatch.setattr(limits, "FILE_TRANSFERS", Limit(3, "transfers", "for this test"))
    monkeypatch.setattr(limits, "FILES_TOGETHER", Limit(6, "files", "for this test"))
    return Room()


def test_downloads_do_not_keep_a_function_from_its_files(room: Room) -> None:
    for _ in range(3):
        room.for_transfer(NAME)
    with pytest.raises(NoRoom, match="3 transfers of this deployment are open, limit FILE_TRANSFERS is 3"):
        room.for_transfer(NAME)
    room.for_call(NAME)


def test_one_deployment_does_not_keep_another_from_its_files(room: Room) -> None:
    for _ in range(2):
        room.for_call(NAME)
    with pytest.raises(NoRoom, match="limit FILES_OPEN is 2") as full:
        room.for_call(NAME)
    assert not full.value.together
    room.for_call(OTHER)


def test_together_there_is_an_end(room: Room) -> None:
    for name in (NAME, OTHER):
        for _ in range(3):
            room.for_transfer(name)
    with pytest.raises(NoRoom, match="limit FILES_TOGETHER is 6") as full:
        room.for_call(NAME)
    assert full.value.together


def test_who_leaves_twice_leaves_once(room: Room) -> None:
    leave = room.for_call(NAME)
    room.for_call(NAME)
    leave()
    leave()
    assert room.calls[NAME] == 1
    room.for_call(NAME)
    with pytest.raises(NoRoom):
        room.for_call(NAME)
