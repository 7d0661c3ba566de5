"""What is in a deployment's tables, and how does it come in and go out?

Rules
1. Values travel in Convex's encoding: what JSON has no word for is an object of one ``$`` key.
2. ``tables``, ``import`` and ``export`` are words of this API: a table of that name is reached by import and export.
"""

import tempfile
from collections.abc import AsyncIterator
from typing import Annotated, Any, BinaryIO, cast

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from control_plane.auth import OwnDeployment, TheChanges, TheOffice
from control_plane.bodies import JsonRoute, spool
from control_plane.data.browsing import Browsing
from control_plane.data.exporting import write_snapshot
from control_plane.data.filters import parse_condition
from control_plane.data.importing import Importing, Mode
from control_plane.data.reading import Form, Source
from control_plane.office import Office
from control_plane.problems import documented
from control_plane.refusals import InvalidField, invalid_name
from runtime import limits
from runtime.names import InvalidName, parse_table_name
from runtime.ports import Order
from runtime.protocol import values

# The import is a file, so it does not go through the reader of small JSON.
_PREFIX = "/v1/deployments/{name}/data"
router = APIRouter()
_files = APIRouter(prefix=_PREFIX, tags=["data"])
_small = APIRouter(prefix=_PREFIX, tags=["data"], route_class=JsonRoute)

_PIECE = 256 * 1024
_IN_MEMORY = 1 * limits.MIB
_IMPORT_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            media: {"schema": {"type": "string", "format": "binary"}}
            for media in ("application/zip", "application/x-ndjson", "text/csv")
        },
    }
}
_EXPORTED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The snapshot.",
        "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class TableModel(BaseModel):
    """One table; ``more`` when it has more documents than were counted."""

    name: str
    documents: int
    more: bool
    indexes: list[list[str]] = Field(description="The fields of each index; every table also has by_creation_time.")
    schema_: Any = Field(alias="schema", description="The validator of its documents, null where none is enforced.")


class TableList(BaseModel):
    """Every table, by name."""

    tables: list[TableModel]


class DocumentPage(BaseModel):
    """Some documents; ``cursor`` asks for the next ones and is null at the end."""

    documents: list[dict[str, Any]]
    cursor: str | None


class Inserted(BaseModel):
    """The id that a document got."""

    id: str


class Imported(BaseModel):
    """How many documents went into each table."""

    tables: dict[str, int]
    documents: int


@_small.get("/tables", responses=documented(401, 403, 404))
async def list_tables(office: TheOffice, deployment: OwnDeployment) -> TableList:
    """Every table of the deployment."""
    found = await _browsing(office).tables(deployment.name)
    return TableList(tables=[TableModel.model_validate(table._asdict()) for table in found])


@_files.post("/import", responses=documented(400, 401, 403, 404, 408, 409, 413), openapi_extra=_IMPORT_BODY)
async def import_documents(
    request: Request,
    office: TheOffice,
    changes: TheChanges,
    deployment: OwnDeployment,
    format: Form = Form.ZIP,
    table: Annotated[str | None, Query(description="Where the documents of a jsonl or csv file belong.")] = None,
    mode: Mode = Mode.REQUIRE_EMPTY,
) -> Imported:
    """Take documents from a snapshot (zip), lines of JSON, or comma-separated values; a bad line imports nothing."""
    if (table is None) is not (format is Form.ZIP):
        raise InvalidField("table", "a jsonl or csv file goes into one table: say which; a snapshot names its own")
    try:
        table = parse_table_name(table) if table is not None else None
    except InvalidName as error:
        raise invalid_name("table", error) from None
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spooled:
        file = cast(BinaryIO, spooled)
        await spool(request, "IMPORT_BYTES", limits.IMPORT_BYTES, file)
        source, importing = Source(file, format, table), Importing(office.restoring)
        counts = await changes.make(deployment.name, lambda: importing.take(deployment.name, source, mode))
    return Imported(tables=counts, documents=sum(counts.values()))


@_files.get("/export", responses={**documented(401, 403, 404), **_EXPORTED}, response_class=StreamingResponse)
async def export_documents(office: TheOffice, deployment: OwnDeployment) -> StreamingResponse:
    """Everything as of one moment: a zip with `<table>/documents.jsonl`, ids kept."""
    file = cast(BinaryIO, tempfile.SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115  # closed when it was sent
    try:
        counts = await write_snapshot(office.restoring, deployment.name, file)
        size = file.tell()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    headers = {
        "content-length": str(size),
        "content-disposition": f'attachment; filename="{deployment.name}.zip"',
        "x-warren-documents": str(sum(counts.values())),
    }
    return StreamingResponse(_sent(file), media_type="application/zip", headers=headers)


async def _sent(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece


@_small.get("/{table}", responses=documented(400, 401, 403, 404))
async def list_documents(
    office: TheOffice,
    deployment: OwnDeployment,
    table: str,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: str | None = None,
    order: Order = Order.DESCENDING,
    where: Annotated[
        list[str] | None, Query(description="Conditions that all hold, as `author=Ann` or `score>=3`.")
    ] = None,
) -> DocumentPage:
    """One page of a table by creation time. With conditions a page may be short and still not be the last."""
    conditions = [parse_condition(text) for text in where or ()]
    page = await _browsing(office).page(deployment.name, table, order, cursor, limit, conditions)
    return DocumentPage(documents=[values.to_json(each) for each in page.documents], cursor=page.cursor)


@_small.post("/{table}", status_code=201, responses=documented(400, 401, 403, 404, 413))
async def insert_document(
    office: TheOffice, deployment: OwnDeployment, table: str, document: dict[str, Any]
) -> Inserted:
    """Add a document."""
    return Inserted(id=await _browsing(office).insert(deployment.name, table, _value(document)))


@_small.get("/{table}/{id}", responses=documented(401, 403, 404))
async def show_document(office: TheOffice, deployment: OwnDeployment, table: str, id: str) -> dict[str, Any]:
    """One document."""
    found: dict[str, Any] = values.to_json(await _browsing(office).get(deployment.name, table, id))
    return found


@_small.patch("/{table}/{id}", responses=documented(400, 401, 403, 404, 413))
async def patch_document(
    office: TheOffice,
    deployment: OwnDeployment,
    table: str,
    id: str,
    fields: dict[str, Any],
    unset: Annotated[list[str] | None, Query(description="Fields to remove.")] = None,
) -> dict[str, Any]:
    """Set some fields of a document and remove others; the document as it is then."""
    browsing = _browsing(office)
    await browsing.patch(deployment.name, table, id, _value(fields), unset or ())
    found: dict[str, Any] = values.to_json(await browsing.get(deployment.name, table, id))
    return found


@_small.delete("/{table}/{id}", status_code=204, responses=documented(401, 403, 404))
async def delete_document(office: TheOffice, deployment: OwnDeployment, table: str, id: str) -> None:
    """Remove a document."""
    await _browsing(office).delete(deployment.name, table, id)


router.include_router(_files)
router.include_router(_small)


def _browsing(office: Office) -> Browsing:
    return Browsing(office.transactions, office.restoring)


def _value(written: dict[str, Any]) -> dict[str, Any]:
    try:
        value = values.from_json(written, "document")
    except values.InvalidValue as error:
        raise InvalidField("document", str(error)) from None
    except RecursionError:
        raise InvalidField("document", "document is nested too deep") from None
    if type(value) is not dict:
        raise InvalidField("document", "a document is an object of fields")
    return value
