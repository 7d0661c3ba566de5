"""Functions of every kind that do something with stored files."""

import hashlib
from typing import Any

from runtime import Blob, action, mutation, query


@mutation
async def upload_url(ctx) -> str:
    return await ctx.storage.generate_upload_url()


@mutation
async def send(ctx, file: str, author: str) -> str:
    return await ctx.db.insert("pictures", {"file": file, "author": author})


@query
async def pictures(ctx) -> list[Any]:
    found = await ctx.db.query("pictures").collect()
    return [{"author": each["author"], "url": await ctx.storage.get_url(each["file"])} for each in found]


@query
async def url(ctx, id: str) -> str | None:
    return await ctx.storage.get_url(id)


@query
async def metadata(ctx, id: str) -> Any:
    return [await ctx.storage.get_metadata(id), await ctx.db.system.get(id)]


@query
async def stored(ctx) -> list[Any]:
    return [each["_id"] for each in await ctx.db.system.query("_storage").collect()]


@mutation
async def delete(ctx, id: str) -> None:
    await ctx.storage.delete(id)


@mutation
async def delete_and_fail(ctx, id: str) -> None:
    await ctx.storage.delete(id)
    assert await ctx.storage.get_url(id) is None
    raise ValueError("changed my mind")


@mutation
async def try_to_delete(ctx, id: str) -> Any:
    try:
        await ctx.run_mutation("files:delete_and_fail", {"id": id})
    except Exception as error:
        return [type(error).__name__, await ctx.storage.get_url(id) is not None]


@action
async def make(ctx, text: str, times: int = 1) -> str:
    return await ctx.storage.store(Blob([text * times], type="text/plain"))


@action
async def measure(ctx, id: str) -> Any:
    blob = await ctx.storage.get(id)
    if blob is None:
        return None
    return {"size": blob.size, "type": blob.type, "sha256": hashlib.sha256(await blob.bytes()).hexdigest()}


@action
async def remove(ctx, id: str) -> None:
    await ctx.storage.delete(id)


@action
async def abandon(ctx) -> list[Any]:
    number, id = await ctx._running.syscall("storage.store", None, None, b"half", False)
    return [number, id]
