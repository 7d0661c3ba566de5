"use node"

"""The same from all of Python."""

from typing import Any

from runtime import Blob, action


@action
async def round_trip(ctx, size: int) -> Any:
    id = await ctx.storage.store(bytes(range(256)) * (size // 256), "application/x-bytes")
    blob = await ctx.storage.get(id)
    assert blob is not None and await blob.bytes() == bytes(range(256)) * (size // 256)
    found = [id, blob.size, blob.type, await ctx.storage.get_metadata(id), await ctx.storage.get_url(id)]
    await ctx.storage.delete(id)
    return [*found, await ctx.storage.get(id), await ctx.storage.get_url(id), await ctx.storage.generate_upload_url()]


@action
def in_a_thread(ctx, text: str) -> Any:
    import asyncio

    async def store() -> str:
        return await ctx.storage.store(Blob([text], type="text/plain"))

    return asyncio.run(store())
