"""A bank: money moves from one account to another, and none is made or lost."""

from runtime import ApplicationError, Id, mutation, query


@mutation
async def open_account(ctx, owner: str, cents: int) -> Id["accounts"]:
    """Open an account with a first deposit. An owner has one account."""
    if cents < 0:
        raise ApplicationError({"code": "NegativeAmount", "cents": cents})
    known = await ctx.db.query("accounts").with_index("by_owner", lambda q: q.eq("owner", owner)).first()
    if known is not None:
        raise ApplicationError({"code": "AccountExists", "owner": owner})
    return await ctx.db.insert("accounts", {"owner": owner, "deposit": cents, "balance": cents})


@mutation
async def transfer(ctx, source: Id["accounts"], target: Id["accounts"], cents: int) -> None:
    """Move money: both balances change and the transfer is written down, or nothing happens at all."""
    if cents <= 0 or source == target:
        raise ApplicationError({"code": "NoTransfer", "cents": cents})
    giver, taker = await ctx.db.get(source), await ctx.db.get(target)
    if giver is None or taker is None:
        raise ApplicationError({"code": "NoSuchAccount"})
    if giver["balance"] < cents:
        raise ApplicationError({"code": "InsufficientFunds", "balance": giver["balance"], "cents": cents})
    await ctx.db.patch(source, {"balance": giver["balance"] - cents})
    await ctx.db.patch(target, {"balance": taker["balance"] + cents})
    await ctx.db.insert("transfers", {"source": source, "target": target, "cents": cents})


@query
async def accounts(ctx) -> list[dict[str, str | int]]:
    """Every account, by owner."""
    found = await ctx.db.query("accounts").with_index("by_owner").collect()
    return [{"id": each["_id"], "owner": each["owner"], "balance": each["balance"]} for each in found]


@query
async def audit(ctx):
    """What must hold at every moment: no account below zero, each balance explained, the total what was paid in."""
    found = await ctx.db.query("accounts").collect()
    explained = {each["_id"]: each["deposit"] for each in found}
    count = 0
    async for each in ctx.db.query("transfers"):
        explained[each["source"]] -= each["cents"]
        explained[each["target"]] += each["cents"]
        count += 1
    wrong = [each["owner"] for each in found if each["balance"] != explained[each["_id"]] or each["balance"] < 0]
    total, deposited = sum(each["balance"] for each in found), sum(each["deposit"] for each in found)
    return {
        "total": total,
        "deposited": deposited,
        "transfers": count,
        "wrong": wrong,
        "holds": total == deposited and not wrong,
    }
