"""What the official clients' checks call."""

from runtime import ApplicationError, action, internal_query, mutation, query


@query
async def list(ctx):
    return await ctx.db.query("messages").collect()


@mutation
async def send(ctx, author: str, body: str):
    print("sending", body)
    return await ctx.db.insert("messages", {"author": author, "body": body})


@action
async def echo(ctx, **args):
    return args


@query
async def fail(ctx):
    raise ApplicationError({"code": 7})


@mutation
async def fail_mutation(ctx):
    await ctx.db.insert("messages", {"author": "nobody", "body": "never kept"})
    raise ApplicationError({"code": 7})


@query
async def whoami(ctx):
    return await ctx.auth.get_user_identity()


@query
async def page(ctx, paginationOpts: dict):
    return await ctx.db.query("messages").order("desc").paginate(paginationOpts)


@query
async def by(ctx, author: str):
    return [m["body"] for m in await ctx.db.query("messages").collect() if m["author"] == author]


@internal_query
async def secret(ctx):
    return "for administrators"
