"""One small function per figure of the data half."""

from runtime import action, mutation, query

SHOWN = 20


@mutation
async def insert(ctx, author: str, body: str) -> None:
    """One document."""
    await ctx.db.insert("messages", {"author": author, "body": body})


@mutation
async def open_accounts(ctx, count: int) -> None:
    """Accounts with a number and some money."""
    for number in range(count):
        await ctx.db.insert("accounts", {"number": number, "balance": 1_000_000})


@mutation
async def transfer(ctx, source: int, target: int) -> None:
    """Move a coin: two reads by index, two writes."""
    giver, taker = await _account(ctx, source), await _account(ctx, target)
    await ctx.db.patch(giver["_id"], {"balance": giver["balance"] - 1})
    await ctx.db.patch(taker["_id"], {"balance": taker["balance"] + 1})


async def _account(ctx, number):
    return await ctx.db.query("accounts").with_index("by_number", lambda q: q.eq("number", number)).unique()


@query
async def by_group(ctx, group: int):
    """The documents of a group."""
    return await ctx.db.query("items").with_index("by_group", lambda q: q.eq("group", group)).take(SHOWN)


@query
async def reads(ctx, groups: list[int]) -> int:
    """As many index reads as there are groups: of one document each."""
    found = 0
    for group in groups:
        one = await ctx.db.query("items").with_index("by_group", lambda q, group=group: q.eq("group", group)).first()
        found += one is not None
    return found


@mutation
async def say(ctx, room: str, body: str) -> None:
    """Something said in a room."""
    await ctx.db.insert("said", {"room": room, "body": body})


@query
async def room(ctx, room: str):
    """The last that was said in a room."""
    said = ctx.db.query("said").with_index("by_room", lambda q: q.eq("room", room))
    return [each["body"] for each in await said.order("desc").take(5)]


@action
async def nothing(ctx) -> None:
    """An action that does nothing."""
