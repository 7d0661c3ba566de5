"""Does an archive become exactly its files, and does a bad one become nothing?"""

import gzip
import io
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.archives import content_hash, unpack
from control_plane.refusals import BadArchive, LimitPassed
from runtime import limits
from runtime.errors import PushRefused, TooLarge, WarrenError

Pack = Callable[[dict[str, bytes]], bytes]

HTTP = b"http = None\n"


def tar_of(files: dict[str, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    """A .tar.gz with these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=format) as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def tar_with(member: tarfile.TarInfo) -> bytes:
    """A .tar.gz with one good file and this member."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        good = tarfile.TarInfo("http.py")
        good.size = len(HTTP)
        archive.addfile(good, io.BytesIO(HTTP))
        archive.addfile(member)
    return out.getvalue()


def zip_of(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A .zip with these files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return out.getvalue()


def zip_with_mode(path: str, mode: int) -> bytes:
    """A .zip with one member of this kind."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        member = zipfile.ZipInfo(path)
        member.create_system = 3
        member.external_attr = mode << 16
        archive.writestr(member, b"/etc/passwd")
    return out.getvalue()


def renamed(packed: bytes, was: bytes, becomes: bytes) -> bytes:
    """A .zip in which a name stands that no tool would write."""
    assert len(was) == len(becomes)
    return packed.replace(was, becomes)


BOTH = pytest.mark.parametrize("pack", [tar_of, zip_of])


@BOTH
def test_the_files_come_out_as_they_went_in(pack: Pack) -> None:
    files = {"http.py": HTTP, "admin/users.py": b"", "data.bin": os.urandom(70_000), "größe.txt": b"x"}
    assert unpack(pack(files)) == files


PATHS = st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8}){0,2}\.py", fullmatch=True)


@given(st.dictionaries(PATHS, st.binary(max_size=2_000), min_size=1))
@settings(max_examples=60, deadline=None)
def test_whatever_the_standard_library_packs_is_unpacked(files: dict[str, bytes]) -> None:
    for packed in (
        tar_of(files),
        tar_of(files, tarfile.GNU_FORMAT),
        tar_of(files, tarfile.USTAR_FORMAT),
        zip_of(files),
        zip_of(files, zipfile.ZIP_STORED),
    ):
        assert unpack(packed) == files


@given(st.binary(max_size=4_000), st.integers(0, 3), st.data())
@settings(max_examples=300, deadline=None)
def test_damage_is_refused_or_does_no_harm(noise: bytes, where: int, data: st.DataObject) -> None:
    files = {"http.py": HTTP * 40, "b.py": b"b" * 900}
    packed = bytearray((tar_of(files), zip_of(files), gzip.compress(noise), b"PK\x03\x04" + noise)[where])
    for _ in range(data.draw(st.integers(0, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        unpack(packed)
    except WarrenError as error:
        assert str(error)


@pytest.mark.parametrize("length", [99, 100, 101, 200, 256])
@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_paths_survive_every_form_of_tar(length: int, format: int) -> None:
    path = ("d" * 60 + "/") * 4
    files = {(path + "x" * 256)[: length - 3].rstrip("/") + ".py": HTTP}
    assert unpack(tar_of(files, format)) == files


def test_the_same_content_has_the_same_hash_whatever_the_archive() -> None:
    files = {"http.py": HTTP, "a/b.py": b"1"}
    turned = dict(reversed(files.items()))
    assert content_hash(unpack(tar_of(files))) == content_hash(unpack(zip_of(turned)))


def test_moving_a_byte_from_a_name_to_a_content_changes_the_hash() -> None:
    assert content_hash({"ab": b"c"}) != content_hash({"a": b"bc"})
    assert content_hash({"a": b"", "b": b""}) != content_hash({"a": b"b"})


@BOTH
def test_a_leading_dot_slash_and_directories_mean_nothing(pack: Pack) -> None:
    assert unpack(pack({"./http.py": HTTP, "./lib/": b"", "./lib/a.py": b"1"})) == {"http.py": HTTP, "lib/a.py": b"1"}


def test_a_directory_packed_by_the_tar_command_comes_out_whole(tmp_path: os.PathLike[str]) -> None:
    folder = os.path.join(tmp_path, "functions")
    os.makedirs(os.path.join(folder, "lib"))
    for path in ("http.py", "lib/a.py"):
        with open(os.path.join(folder, path), "wb") as file:
            file.write(HTTP)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        archive.add(folder, ".")
    assert unpack(out.getvalue()) == {"http.py": HTTP, "lib/a.py": HTTP}


@BOTH
def test_caches_and_hidden_files_are_passed_over(pack: Pack) -> None:
    files = {".env": b"S=1", "a/.git/x": b"", "__pycache__/http.pyc": b"", "__MACOSX/._http.py": b"", "http.py": HTTP}
    assert unpack(pack(files)) == {"http.py": HTTP}


def test_a_root_with_one_directory_is_not_looked_into() -> None:
    assert unpack(tar_of({"functions/http.py": HTTP})) == {"functions/http.py": HTTP}


@BOTH
@pytest.mark.parametrize(
    "path",
    [
        "../evil.py", "a/../../evil.py", "a/..", "..", "/etc/passwd", "//x", "C:/evil.py", "c:evil.py", "a\\b.py",
        "..\\evil.py", "a//b.py", "a/./b.py", "x\n.py", "x\x1b[2J.py", "\u202ecod.py", "a/b:stream.py",
        "x" * 257,
    ],
)  # fmt: skip
def test_a_name_that_leads_elsewhere_refuses_the_archive(pack: Pack, path: str) -> None:
    with pytest.raises(PushRefused) as refusal:
        unpack(pack({"http.py": HTTP, path: b"x"}))
    (diagnostic,) = refusal.value.diagnostics
    assert diagnostic.file.isprintable()
    assert diagnostic.message.isprintable()


@pytest.mark.parametrize("name", [b"a\0b.py", b"\xff\xfe.py", b"a\x07b.py"])
def test_a_zip_name_that_is_no_text_refuses_the_archive(name: bytes) -> None:
    packed = renamed(zip_of({"http.py": HTTP, "q" * len(name): b"x"}), b"q" * len(name), name)
    with pytest.raises(PushRefused):
        unpack(packed)


def test_a_tar_name_that_is_no_utf8_refuses_the_archive() -> None:
    member = tarfile.TarInfo("caf\udce9.py")
    with pytest.raises(PushRefused, match="UTF-8"):
        unpack(tar_with(member))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"S", b"Z"]
)
def test_links_devices_and_pipes_in_a_tar_are_refused(kind: bytes) -> None:
    member = tarfile.TarInfo("evil.py")
    member.type, member.linkname = kind, "/etc/passwd"
    with pytest.raises(PushRefused, match=r"evil\.py"):
        unpack(tar_with(member))


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o644, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_special_files_in_a_zip_are_refused(mode: int) -> None:
    with pytest.raises(PushRefused, match=r"evil\.py"):
        unpack(zip_with_mode("evil.py", mode))


def test_a_name_that_is_twice_in_an_archive_is_refused() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for content in (b"1", b"2"):
            member = tarfile.TarInfo("http.py")
            member.size = 1
            archive.addfile(member, io.BytesIO(content))
    with pytest.raises(PushRefused, match="twice"):
        unpack(out.getvalue())


@BOTH
def test_two_spellings_of_one_name_are_the_same_name(pack: Pack) -> None:
    with pytest.raises(PushRefused, match="twice"):
        unpack(pack({"caf\u00e9.py": b"1", "cafe\u0301.py": b"2"}))


@BOTH
def test_a_file_cannot_be_a_directory_as_well(pack: Pack) -> None:
    with pytest.raises(PushRefused, match="directory"):
        unpack(pack({"a": b"1", "a/b.py": b"2"}))


@BOTH
def test_an_archive_without_files_is_refused(pack: Pack) -> None:
    with pytest.raises(PushRefused, match="no files"):
        unpack(pack({".hidden": b""}))


@pytest.mark.parametrize("data", [b"", b"hello", b"\x1f\x8b", b"PK\x03\x04", b"BZh91AY", gzip.compress(b"hello")])
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    with pytest.raises(BadArchive):
        unpack(data)


@pytest.mark.parametrize("pack", [tar_of, zip_of])
@pytest.mark.parametrize("cut", [1, 30, 200])
def test_an_archive_that_was_cut_off_is_refused(pack: Pack, cut: int) -> None:
    packed = pack({"http.py": os.urandom(1_000)})
    with pytest.raises(BadArchive):
        unpack(packed[:-cut])


def test_an_encrypted_zip_is_refused_in_plain_words() -> None:
    packed = bytearray(zip_of({"http.py": HTTP}))
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(BadArchive, match="encrypted"):
        unpack(packed)


def test_a_wrong_checksum_is_refused() -> None:
    packed = bytearray(zip_of({"http.py": HTTP}, zipfile.ZIP_STORED))
    packed[packed.index(HTTP)] ^= 1
    with pytest.raises(BadArchive, match="checksum"):
        unpack(packed)


@BOTH
def test_a_bomb_is_defused(pack: Pack) -> None:
    packed = pack({"bomb.txt": bytes(limits.BUNDLE_BYTES + 1)})
    assert len(packed) < 100_000
    with pytest.raises(LimitPassed) as refusal:
        unpack(packed)
    assert refusal.value.limit == limits.BUNDLE_BYTES
    assert refusal.value.value > limits.BUNDLE_BYTES
    assert "BUNDLE_BYTES" in str(refusal.value)


@BOTH
def test_many_files_together_meet_the_same_limit(pack: Pack) -> None:
    half = bytes(limits.BUNDLE_BYTES // 2 + 1)
    with pytest.raises(LimitPassed, match="BUNDLE_BYTES"):
        unpack(pack({"a.txt": half, "b.txt": half}))


def test_a_zip_that_lies_about_its_size_is_counted_by_what_comes_out() -> None:
    packed = bytearray(zip_of({"bomb.txt": bytes(limits.BUNDLE_BYTES + 1)}))
    at = packed.index(b"PK\x01\x02")
    packed[at + 24 : at + 28] = struct.pack("<I", 10)
    with pytest.raises(LimitPassed, match="BUNDLE_BYTES"):
        unpack(packed)


def test_a_bomb_hidden_in_what_is_passed_over_is_counted() -> None:
    with pytest.raises(LimitPassed, match="ARCHIVE_BYTES"):
        unpack(tar_of({".hidden": bytes(limits.ARCHIVE_BYTES), "http.py": HTTP}))


def test_a_tar_header_that_claims_much_is_not_read() -> None:
    member = tarfile.TarInfo("././@PaxHeader")
    member.type, member.size = tarfile.XHDTYPE, 10 * limits.MIB
    block = member.tobuf(tarfile.USTAR_FORMAT)
    with pytest.raises(BadArchive, match="header of"):
        unpack(gzip.compress(block + bytes(10 * limits.MIB)))


def test_members_of_a_zip_that_share_their_bytes_are_refused() -> None:
    packed = zip_of({"a.txt": os.urandom(9_000)}, zipfile.ZIP_STORED)
    begin, end = packed.index(b"PK\x01\x02"), packed.index(b"PK\x05\x06")
    entry = packed[begin:end]
    entries = b"".join(entry.replace(b"a.txt", b"%c.txt" % letter) for letter in b"abcdef")
    closing = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 6, 6, len(entries), begin, 0)
    with pytest.raises(BadArchive, match="overlap"):
        unpack(packed[:begin] + entries + closing)


@BOTH
def test_too_many_files_are_refused_with_their_number(pack: Pack) -> None:
    files = {f"m{number}.py": b"" for number in range(limits.BUNDLE_FILES + 1)}
    with pytest.raises(TooLarge, match=f"{limits.BUNDLE_FILES + 1} files observed"):
        unpack(pack(files))


def test_several_gzip_members_are_one_stream() -> None:
    tar = gzip.decompress(tar_of({"http.py": HTTP}))
    assert unpack(gzip.compress(tar[:700]) + gzip.compress(tar[700:]) + bytes(100)) == {"http.py": HTTP}
    with pytest.raises(BadArchive, match="behind"):
        unpack(gzip.compress(tar) + b"more")


def test_a_deflate_stream_of_nothing_ends() -> None:
    empty_blocks = b"\x00\x00\x00\xff\xff" * 100_000
    with pytest.raises(BadArchive):
        unpack(b"\x1f\x8b\x08\0\0\0\0\0\0\0" + empty_blocks)
    assert zlib.decompress(empty_blocks + b"\x01\x00\x00\xff\xff", wbits=-15) == b""
