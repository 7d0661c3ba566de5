"""What the figures of the queue schedule, and how they are asked what came of it."""

from runtime import PaginationOptions, internal, internal_mutation, mutation, query


@internal_mutation
async def nothing(ctx) -> None:
    """A mutation that does nothing."""


@internal_mutation
async def stamp(ctx, due: float) -> None:
    """A document that says when it was due; its creation time says when it was run."""
    await ctx.db.insert("stamps", {"due": due})


@mutation
async def schedule(ctx, at: float, count: int) -> None:
    """So many mutations that do nothing, all due at one moment (seconds since 1970)."""
    for _ in range(count):
        await ctx.scheduler.run_at(at, internal.queue.nothing)


@mutation
async def schedule_stamps(ctx, first: float, apart: float, count: int) -> None:
    """So many stamps, one due every ``apart`` seconds."""
    for number in range(count):
        due = first + number * apart
        await ctx.scheduler.run_at(due, internal.queue.stamp, {"due": due})


@mutation
async def schedule_far(ctx, seconds: float, count: int) -> None:
    """So many mutations that do nothing, due one second after the other, the first in ``seconds``."""
    for number in range(count):
        await ctx.scheduler.run_after(seconds + number, internal.queue.nothing)


@query
async def newest(ctx):
    """How the one that was scheduled last stands."""
    last = await ctx.db.system.query("_scheduled_functions").order("desc").first()
    return last and last["state"]["kind"]


@query
async def ended(ctx, paginationOpts: PaginationOptions):
    """When each ended (milliseconds since 1970); ``None`` for one that has not ended well."""
    page = await ctx.db.system.query("_scheduled_functions").paginate(paginationOpts)
    times = [each.get("completedTime") if each["state"]["kind"] == "success" else None for each in page["page"]]
    return {**page, "page": times}


@query
async def stamps(ctx, paginationOpts: PaginationOptions):
    """When each stamp was due and when it was run (milliseconds since 1970)."""
    page = await ctx.db.query("stamps").paginate(paginationOpts)
    return {**page, "page": [[each["due"] * 1000, each["_creationTime"]] for each in page["page"]]}
