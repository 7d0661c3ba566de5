"""Pictures, as an application keeps them."""

from runtime import mutation, query


@mutation
async def upload_url(ctx):
    return await ctx.storage.generate_upload_url()


@mutation
async def send(ctx, file: str, author: str):
    return await ctx.db.insert("pictures", {"file": file, "author": author})


@mutation
async def remove(ctx, file: str):
    await ctx.storage.delete(file)


@query
async def pictures(ctx):
    found = await ctx.db.query("pictures").collect()
    return [{"author": each["author"], "url": await ctx.storage.get_url(each["file"])} for each in found]
