"""What every keeper of contents does; `MemoryFiles` is the specification."""

import asyncio
import hashlib
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from runtime.adapters.files.disk import DiskFiles
from runtime.adapters.files.memory import MemoryFiles
from runtime.names import DeploymentName
from runtime.ports import Files, FilesUnavailable

NAME = DeploymentName("happy-otter-123")
OTHER = DeploymentName("brave-heron-456")
NUMBER = uuid4()


@pytest.fixture(params=["memory", "disk"])
async def files(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Files]:
    made: Files = MemoryFiles() if request.param == "memory" else DiskFiles(tmp_path / "files")
    yield made
    await made.close()


async def keep(files: Files, *pieces: bytes, name: DeploymentName = NAME) -> None:
    writing = await files.write(name, NUMBER)
    for piece in pieces:
        await writing.write(piece)
    await writing.keep()


async def read(files: Files, name: DeploymentName = NAME) -> bytes | None:
    content = await files.open(name, NUMBER)
    if content is None:
        return None
    data = await content.read(0, content.size + 10)
    assert len(data) == content.size
    content.close()
    return data


async def test_what_was_kept_is_there_as_it_was_written(files: Files) -> None:
    await keep(files, b"one ", b"", b"two " * 100_000, b"three")
    assert await read(files) == b"one " + b"two " * 100_000 + b"three"


async def test_an_empty_content_is_a_content(files: Files) -> None:
    await keep(files)
    assert await read(files) == b""


async def test_size_and_digest_are_those_of_all_pieces(files: Files) -> None:
    writing = await files.write(NAME, NUMBER)
    await writing.write(b"one")
    await writing.write(b"two")
    assert (writing.size, writing.digest()) == (6, hashlib.sha256(b"onetwo").digest())
    writing.discard()


async def test_any_part_can_be_read(files: Files) -> None:
    await keep(files, b"0123456789")
    content = await files.open(NAME, NUMBER)
    assert content is not None
    assert [await content.read(*part) for part in [(2, 3), (8, 10), (10, 5), (0, 0)]] == [b"234", b"89", b"", b""]
    content.close()
    content.close()


async def test_nobody_sees_what_is_being_written(files: Files) -> None:
    writing = await files.write(NAME, NUMBER)
    await writing.write(b"half")
    assert await files.open(NAME, NUMBER) is None
    assert await files.older(NAME, -1) == [] or await read(files) is None
    writing.discard()


async def test_what_was_discarded_is_never_there(files: Files) -> None:
    writing = await files.write(NAME, NUMBER)
    await writing.write(b"half")
    writing.discard()
    writing.discard()
    with pytest.raises(FilesUnavailable):
        await writing.write(b"more")
    with pytest.raises(FilesUnavailable):
        await writing.keep()
    assert await files.open(NAME, NUMBER) is None
    assert await files.names() == []


async def test_discarding_what_was_kept_changes_nothing(files: Files) -> None:
    writing = await files.write(NAME, NUMBER)
    await writing.keep()
    writing.discard()
    assert await read(files) == b""


async def test_what_is_discarded_while_it_is_written_leaves_nothing(files: Files) -> None:
    writing = await files.write(NAME, NUMBER)
    working = asyncio.create_task(writing.write(b"x" * 1_000_000))
    await asyncio.sleep(0)
    working.cancel()
    writing.discard()
    await asyncio.gather(working, return_exceptions=True)
    await files.close()
    assert await files_left(files) == []


async def files_left(files: Files) -> list[str]:
    if isinstance(files, MemoryFiles):
        return [str(each) for each in [*files.begun, *files.kept]]
    assert isinstance(files, DiskFiles)
    return [name for _, _, names in os.walk(files._folder) for name in names]


async def test_removed_is_removed_but_for_who_reads_it(files: Files) -> None:
    await keep(files, b"0123456789")
    content = await files.open(NAME, NUMBER)
    assert content is not None
    await files.remove(NAME, NUMBER)
    await files.remove(NAME, NUMBER)
    assert await read(files) is None
    assert await content.read(0, 10) == b"0123456789"
    content.close()


async def test_deployments_have_nothing_in_common(files: Files) -> None:
    await keep(files, b"mine")
    await keep(files, b"theirs", name=OTHER)
    assert sorted(await files.names()) == sorted([NAME, OTHER])
    await files.remove(OTHER, NUMBER)
    assert (await read(files), await read(files, OTHER)) == (b"mine", None)


async def test_a_forgotten_deployment_has_nothing_and_gets_nothing_of_what_was_begun(files: Files) -> None:
    await keep(files, b"mine")
    writing = await files.write(NAME, uuid4())
    await writing.write(b"half")
    await files.forget(NAME)
    await files.forget(NAME)
    with pytest.raises(FilesUnavailable):
        await writing.keep()
    assert await read(files) is None
    assert await files.names() == []


async def test_a_content_is_as_old_as_its_keeping(files: Files) -> None:
    await keep(files, b"mine")
    assert await files.older(NAME, 3_600) == []
    assert await files.older(NAME, -1) == [NUMBER]
    assert await files.older(OTHER, -1) == []


async def test_what_was_begun_long_ago_is_removed_and_what_was_begun_now_is_not(files: Files) -> None:
    left, busy = await files.write(NAME, uuid4()), await files.write(NAME, NUMBER)
    await files.older(NAME, 3_600)
    await busy.write(b"still here")
    await busy.keep()
    await files.older(NAME, -1)
    with pytest.raises(FilesUnavailable):
        await left.keep()
    assert await read(files) == b"still here"


# --- only a disk ------------------------------------------------------------------------------------------------------


async def test_on_a_disk_nobody_else_may_read(tmp_path: Path) -> None:
    files = DiskFiles(tmp_path / "files")
    await keep(files, b"mine")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "files").rglob("*") if path.is_dir()}
    assert modes | {stat.S_IMODE((tmp_path / "files").stat().st_mode)} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()} == {0o600}
    await files.close()


async def test_on_a_disk_a_link_is_never_followed(tmp_path: Path) -> None:
    files, secret = DiskFiles(tmp_path / "files"), tmp_path / "secret"
    secret.write_text("secret")
    await keep(files, b"mine")
    (place,) = [path for path in (tmp_path / "files").rglob("*") if path.is_file()]
    place.unlink()
    place.symlink_to(secret)
    with pytest.raises(FilesUnavailable):
        await files.open(NAME, NUMBER)
    await files.close()


async def test_on_a_disk_what_was_kept_is_there_after_a_restart_and_what_is_not_ours_is_left_alone(
    tmp_path: Path,
) -> None:
    first = DiskFiles(tmp_path / "files")
    await keep(first, b"mine")
    await first.close()
    stranger = tmp_path / "files" / NAME / "note.txt"
    stranger.write_text("not ours")
    second = DiskFiles(tmp_path / "files")
    assert await read(second) == b"mine"
    assert await second.older(NAME, -1) == [NUMBER]
    assert stranger.exists()
    await second.close()


async def test_a_disk_that_is_nearly_full_takes_no_more(tmp_path: Path) -> None:
    files = DiskFiles(tmp_path / "files", spare=2**62)
    with pytest.raises(FilesUnavailable, match="limit FILE_SPARE"):
        await files.write(NAME, NUMBER)
    files._spare = 0
    writing = await files.write(NAME, NUMBER)
    files._spare = 2**62
    with pytest.raises(FilesUnavailable, match="limit FILE_SPARE"):
        await writing.write(b"more")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    await files.close()


async def test_a_disk_that_refuses_says_so_and_nothing_is_left(tmp_path: Path) -> None:
    files = DiskFiles(tmp_path / "files")
    writing = await files.write(NAME, NUMBER)
    os.close(writing._descriptor)  # type: ignore[attr-defined]  # the disk goes away
    full = os.open("/dev/full", os.O_WRONLY)
    writing._descriptor = full  # type: ignore[attr-defined]  # and a full one is there instead
    with pytest.raises(FilesUnavailable, match="No space left"):
        await writing.write(b"more")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    await files.close()
