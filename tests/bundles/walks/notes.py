"""Queries and mutations for the walks."""

import asyncio
import random
import time
import uuid

from runtime import ApplicationError, internal, internal_mutation, mutation, query


@internal_mutation
async def add(ctx, text: str):
    return await ctx.db.insert("notes", {"text": text})


@mutation
async def add_many(ctx, texts: list[str], fail: bool = False):
    for text in texts:
        await ctx.db.insert("notes", {"text": text})
    if fail:
        raise ApplicationError({"written": len(texts)})
    return len(texts)


@mutation
async def add_with_nested(ctx):
    await ctx.db.insert("notes", {"text": "outer"})
    try:
        await ctx.run_mutation("notes:add_many", texts=["inner"], fail=True)
    except ApplicationError as error:
        return error.data
    return "the nested mutation should have failed"


@query
async def texts(ctx):
    return [note["text"] async for note in ctx.db.query("notes")]


@query
async def newest(ctx, count: int = 2):
    return [note["text"] for note in await ctx.db.query("notes").order("desc").take(count)]


@query
async def with_letter(ctx, letter: str):
    return [note["text"] for note in await ctx.db.query("notes").filter(lambda note: letter in note["text"]).collect()]


@mutation
async def change(ctx, id: str, text: str):
    await ctx.db.patch(id, {"text": text})
    return await ctx.db.get(id)


@mutation
async def increment(ctx):
    counter = await ctx.db.query("counters").first()
    if counter is None:
        await ctx.db.insert("counters", {"value": 1})
        return 1
    await ctx.db.patch(counter["_id"], {"value": counter["value"] + 1})
    return counter["value"] + 1


@query
async def counter(ctx):
    found = await ctx.db.query("counters").first()
    return found["value"] if found else 0


@query
async def chances(ctx):
    return [time.time(), time.time(), random.random(), str(uuid.uuid4())]


@query
async def writes(ctx):
    await ctx.db.insert("notes", {"text": "a query cannot"})


@mutation
async def sleeps(ctx):
    await asyncio.sleep(1)


@mutation
async def calls_itself(ctx, depth: int = 0):
    return await ctx.run_mutation(internal.notes.calls_itself, depth=depth + 1)


@mutation
async def spins(ctx):
    await ctx.db.insert("notes", {"text": "never kept"})
    while True:
        pass
