"""Where Node-style processes write, and what is left of it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from worker.node_style.scratch import ScratchFolders


def test_every_folder_is_new_and_gone_when_it_is_removed(tmp_path: Path) -> None:
    folders = ScratchFolders(tmp_path)
    one, other = folders.make(), folders.make()
    (one / "deep").mkdir()
    (one / "deep" / "file").write_text("x")
    folders.remove(one)
    assert not one.exists() and list(other.iterdir()) == []
    folders.close()
    assert list(tmp_path.iterdir()) == []


def test_workers_of_one_machine_leave_each_others_folders_alone(tmp_path: Path) -> None:
    first = ScratchFolders(tmp_path)
    kept = first.make()
    ScratchFolders(tmp_path).close()
    assert kept.exists()
    first.close()


def test_what_a_killed_worker_left_is_removed_by_the_next(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom worker.node_style.scratch import ScratchFolders\n"
        "print(ScratchFolders(Path(sys.argv[1])).make(), flush=True)\ntime.sleep(100)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        left = Path(worker.stdout.readline().strip())
        assert left.exists()
        os.kill(worker.pid, signal.SIGKILL)
    ScratchFolders(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_a_tenant_builds_there_is_left(tmp_path: Path) -> None:
    folders = ScratchFolders(tmp_path)
    hidden, deep = folders.make(), folders.make()
    (hidden / "a" / "b").mkdir(parents=True)
    (hidden / "a" / "b").chmod(0o300)
    nest(deep, 3000)
    for each in (hidden, deep):
        folders.remove(each)
    left = folders.make()
    nest(left, 3000)
    folders.close()
    assert list(tmp_path.iterdir()) == []


def nest(folder: Path, levels: int) -> None:
    """Folders in folders, deeper than any path can say."""
    place = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("a", dir_fd=place)
        inner = os.open("a", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(place)


def test_no_link_is_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("x")
    place = tmp_path / "place"
    place.mkdir()
    (place / "link").symlink_to(elsewhere)
    folders = ScratchFolders(place)
    (folders.make() / "link").symlink_to(elsewhere)
    folders.close()
    assert (elsewhere / "precious").exists()
