"""A chat: whoever subscribes to a room sees what is said in it, and nothing of other rooms."""

from runtime import ApplicationError, PaginationOptions, mutation, query

_SHOWN = 50


@query
async def rooms(ctx) -> list[str]:
    """The names of all rooms."""
    return [room["name"] for room in await ctx.db.query("rooms").with_index("by_name").collect()]


@query
async def messages(ctx, room: str) -> list[dict[str, str | float]]:
    """The last messages of a room, oldest first. A room that nobody has spoken in is empty."""
    found = await _find(ctx, room)
    if found is None:
        return []
    said = ctx.db.query("messages").with_index("by_room", lambda q: q.eq("room", found["_id"]))
    newest = await said.order("desc").take(_SHOWN)
    return [{"author": each["author"], "body": each["body"], "at": each["_creationTime"]} for each in reversed(newest)]


@query
async def history(ctx, room: str, paginationOpts: PaginationOptions):
    """What was said in a room, newest first, page by page."""
    found = await _find(ctx, room)
    if found is None:
        return {"page": [], "isDone": True, "continueCursor": ""}
    said = ctx.db.query("messages").with_index("by_room", lambda q: q.eq("room", found["_id"]))
    return await said.order("desc").paginate(paginationOpts)


@mutation
async def say(ctx, room: str, author: str, body: str) -> None:
    """Say something in a room, which is there from then on."""
    room, author, body = room.strip(), author.strip(), body.strip()
    if not room or not author or not body or len(body) > 2_000:
        raise ApplicationError({"code": "Unsayable"})
    found = await _find(ctx, room)
    id = found["_id"] if found is not None else await ctx.db.insert("rooms", {"name": room})
    await ctx.db.insert("messages", {"room": id, "author": author, "body": body})


async def _find(ctx, room):
    return await ctx.db.query("rooms").with_index("by_name", lambda q: q.eq("name", room)).unique()
