"""Is a folder got rid of, whatever was put into it, and nothing else?"""

import os
from pathlib import Path

from worker.removing import remove


def test_links_are_removed_and_what_they_lead_to_stays(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("sings")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "folder").mkdir()
    (scratch / "folder" / "link").symlink_to(outside)
    (scratch / "link").symlink_to(outside)
    (scratch / "file").symlink_to(outside / "kept")
    os.mkfifo(scratch / "pipe")
    remove(scratch)
    assert not scratch.exists()
    assert (outside / "kept").read_text() == "sings"


def test_a_folder_that_is_a_link_is_removed_as_a_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").write_text("sings")
    (tmp_path / "scratch").symlink_to(tmp_path / "outside")
    remove(tmp_path / "scratch")
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    assert (tmp_path / "outside" / "kept").read_text() == "sings"


def test_folders_nested_deeper_than_a_path_can_say_are_removed(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    place = os.open(scratch, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("a", dir_fd=place)
        os.close(os.open("b", os.O_CREAT | os.O_WRONLY, dir_fd=place))
        inner = os.open("a", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(place)
    remove(scratch)
    assert not scratch.exists()


def test_folders_that_may_not_be_listed_are_removed(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "a" / "b").mkdir(parents=True)
    (scratch / "a" / "b" / "file").write_text("x")
    (scratch / "a" / "b").chmod(0)
    (scratch / "a").chmod(0o300)
    scratch.chmod(0o300)
    remove(scratch)
    assert not scratch.exists()


def test_what_is_not_there_is_no_mistake(tmp_path: Path) -> None:
    remove(tmp_path / "scratch")
    assert list(tmp_path.iterdir()) == []
