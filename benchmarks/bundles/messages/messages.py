"""The one table of the benchmark."""

from runtime import internal_mutation


@internal_mutation
async def send_one(ctx, author: str, body: str) -> None:
    await ctx.db.insert("messages", {"author": author, "body": body})
