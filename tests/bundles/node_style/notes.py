from runtime import ApplicationError, internal_mutation, mutation, query


@query
async def texts(ctx):
    return [note["text"] for note in await ctx.db.query("notes").collect()]


@internal_mutation
async def add(ctx, text: str):
    if text == "refuse":
        raise ApplicationError({"code": 7, "text": text})
    await ctx.db.insert("notes", {"text": text})


@mutation
async def later(ctx, text: str):
    await ctx.scheduler.run_after(0, "machine:keep", {"text": text})
