"""How do all documents leave, so that they can come back?

One zip: ``<table>/documents.jsonl``, a document on each line in Convex's encoding, with ``_id`` and ``_creationTime``;
and ``_tables/documents.jsonl``, which names the tables, the empty ones too.

Rules
1. It is one moment: what is committed while it is written is not in it.
2. It is written to a file before it is sent, so a slow client holds a file and no snapshot.
"""

import asyncio
import json
import zipfile
from typing import IO, BinaryIO

from runtime.names import DeploymentName
from runtime.protocol import values
from runtime.syscalls.restoring import Restoring

_OLD = (1980, 1, 1, 0, 0, 0)  # the same documents make the same archive


async def write_snapshot(restoring: Restoring, name: DeploymentName, file: BinaryIO) -> dict[str, int]:
    """Write everything into a file, and say how many documents each table has."""
    counts: dict[str, int] = {}
    numbers: dict[str, int] = {}
    member: IO[bytes] | None = None
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:

        async def take(table: str, number: int, contents: list[bytes]) -> None:
            nonlocal member
            if table not in counts:
                if member is not None:
                    member.close()
                counts[table], numbers[table] = 0, number
                member = archive.open(_info(f"{table}/documents.jsonl"), "w", force_zip64=True)
            counts[table] += len(contents)
            if contents and member is not None:
                lines = b"".join(_line(values.decode_own(content)) for content in contents)
                await asyncio.to_thread(member.write, lines)

        await restoring.read_all(name, take)
        if member is not None:
            member.close()
        tables = b"".join(_line({"name": table, "number": number}) for table, number in numbers.items())
        archive.writestr(_info("_tables/documents.jsonl"), tables)
    return counts


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _OLD)
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _line(document: object) -> bytes:
    return json.dumps(values.to_json(document), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
