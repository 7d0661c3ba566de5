"""Is a folder of packages there whole or not at all, shared, and gone when it is the one to go?"""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from worker.packages.settling import Measure, Unsettled, inspect, settle
from worker.packages.shelf import Make, Shelf
from worker.removing import remove

SPACE = 1_000


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path, SPACE)


def making(text: str = "x", size: int = 100, made: list[str] | None = None) -> Make:
    """Makes a folder with one file, and says that it takes so much."""

    async def make(folder: Path) -> tuple[Path, Measure]:
        inside = folder / "inside"
        inside.mkdir()
        (inside / "file").write_text(text)
        if made is not None:
            made.append(text)
        settle(inside)
        return inside, Measure(size, 1)

    return make


def names(tmp_path: Path) -> set[str]:
    """What stands on the shelf."""
    return {path.name for path in (tmp_path / "ready").iterdir()}


def leave(folder: Path) -> list[str]:
    """What is left of work."""
    return [path.name for path in (folder / "work").iterdir()]


async def test_what_is_made_once_is_taken_from_then_on(shelf: Shelf, tmp_path: Path) -> None:
    made: list[str] = []
    first = await shelf.take("a", making("first", made=made))
    second = await Shelf(tmp_path, SPACE).take("a", making("second", made=made))
    assert first.path == second.path == tmp_path / "ready" / "a"
    assert (second.path / "file").read_text() == "first"
    assert made == ["first"]
    assert leave(tmp_path) == []


async def test_who_asks_meanwhile_waits_for_the_one_that_is_being_made(shelf: Shelf, tmp_path: Path) -> None:
    may_go_on, made = asyncio.Event(), list[str]()
    make = making("x", made=made)

    async def slowly(folder: Path) -> tuple[Path, Measure]:
        await may_go_on.wait()
        return await make(folder)

    others = [shelf, Shelf(tmp_path, SPACE)]
    waiting = [asyncio.create_task(one.take("a", slowly)) for one in others for _ in range(3)]
    await asyncio.sleep(0)
    other = await shelf.take("b", making("y"))
    may_go_on.set()
    held = await asyncio.gather(*waiting)
    assert {one.path for one in held} == {tmp_path / "ready" / "a"}
    assert made == ["x"]
    for one in (*held, other):
        one.release()


async def test_what_cannot_be_made_leaves_nothing_and_is_tried_again(shelf: Shelf, tmp_path: Path) -> None:
    async def fail(folder: Path) -> tuple[Path, Measure]:
        (folder / "half").mkdir()
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await shelf.take("a", fail)
    assert (names(tmp_path), leave(tmp_path)) == (set(), [])
    assert (await shelf.take("a", making())).path.exists()


async def test_who_is_killed_in_the_middle_leaves_nothing_that_is_used(shelf: Shelf, tmp_path: Path) -> None:
    program = """
        import asyncio, sys
        from pathlib import Path
        from worker.packages.shelf import Shelf

        async def make(folder):
            (folder / "inside").mkdir()
            (folder / "inside" / "file").write_text("half")
            print("begun", flush=True)
            await asyncio.Event().wait()

        asyncio.run(Shelf(Path(sys.argv[1]), 1000).take("a", make))
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        await asyncio.to_thread(process.stdout.readline)
        assert len(leave(tmp_path)) == 1
        # It is at work: nobody else takes its folder away, or its turn.
        other = await shelf.take("b", making())
        assert len(leave(tmp_path)) == 1
        process.send_signal(signal.SIGKILL)
    taken = await shelf.take("a", making("whole"))
    assert (taken.path / "file").read_text() == "whole"
    assert leave(tmp_path) == []
    taken.release()
    other.release()


async def test_what_was_not_used_for_longest_makes_room(shelf: Shelf, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (await shelf.take(name, making(size=300))).release()
    for order, name in enumerate(("b", "a", "c")):
        os.utime(tmp_path / "locks" / name, (order, order))
    (await shelf.take("d", making(size=300))).release()
    assert names(tmp_path) == {"a", "c", "d"}
    assert {path.name for path in (tmp_path / "locks").iterdir()} == {"a", "c", "d"}
    (await shelf.take("e", making(size=900))).release()
    assert names(tmp_path) == {"e"}
    assert leave(tmp_path) == []


async def test_what_is_in_use_stays(shelf: Shelf, tmp_path: Path) -> None:
    used = await shelf.take("a", making(size=900))
    again = await Shelf(tmp_path, SPACE).take("a", making())
    used.release()
    used.release()
    (await shelf.take("b", making(size=900))).release()
    assert names(tmp_path) == {"a", "b"}
    again.release()
    (await shelf.take("c", making(size=900))).release()
    assert names(tmp_path) == {"c"}
    assert (await shelf.take("a", making("anew"))).path.joinpath("file").read_text() == "anew"


# --- what may lie there -----------------------------------------------------------------------------------------------


def test_only_files_and_folders_may_lie_there(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    link = tmp_path / "in" / "link"
    for target in ("/etc", "file", "."):
        link.symlink_to(target)
        with pytest.raises(Unsettled, match="neither a file nor a folder"):
            settle(tmp_path)
        link.unlink()
    (tmp_path / "in" / "one").write_text("x")
    link.hardlink_to(tmp_path / "in" / "one")
    with pytest.raises(Unsettled, match="is another file as well"):
        settle(tmp_path)
    link.unlink()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unsettled, match="pipe is neither a file nor a folder"):
        inspect(tmp_path)


def test_removing_follows_nothing(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    (inside / "deep").mkdir(parents=True)
    outside.mkdir()
    (outside / "file").write_text("x")
    settle(inside / "deep")
    (inside / "link").symlink_to(outside)
    remove(inside)
    remove(inside)
    assert not inside.exists()
    assert (outside / "file").exists()
    (tmp_path / "link").symlink_to(outside)
    remove(tmp_path / "link")
    assert (outside / "file").exists()


async def test_however_deep_a_stranger_nests_folders_the_next_one_can_work(shelf: Shelf, tmp_path: Path) -> None:
    for _ in range(2):
        async with shelf.workspace() as folder:
            place = os.open(folder, os.O_RDONLY)
            for _ in range(1_900):
                os.mkdir("a", dir_fd=place)
                inner = os.open("a", os.O_RDONLY, dir_fd=place)
                os.close(place)
                place = inner
            os.close(place)
    assert leave(tmp_path) == []


async def test_nothing_is_left_of_what_could_not_be_made(shelf: Shelf, tmp_path: Path) -> None:
    async def fail(folder: Path) -> tuple[Path, Measure]:
        raise Unsettled("a link")

    for name in "abc":
        with pytest.raises(Unsettled):
            await shelf.take(name, fail)
    assert list((tmp_path / "locks").iterdir()) == []
    (await shelf.take("a", making())).release()
    with pytest.raises(Unsettled):
        await shelf.take("b", fail)
    assert [path.name for path in (tmp_path / "locks").iterdir()] == ["a"]
