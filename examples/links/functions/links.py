"""What is known about a link? Its name and where it leads."""

from runtime import internal_mutation, internal_query


@internal_query
async def by_slug(ctx, slug: str):
    return await ctx.db.query("links").with_index("by_slug", lambda q: q.eq("slug", slug)).unique()


@internal_mutation
async def add(ctx, slug: str, url: str) -> bool:
    """Keep a link; False when its name is taken."""
    if await ctx.run_query(by_slug, slug=slug) is not None:
        return False
    await ctx.db.insert("links", {"slug": slug, "url": url})
    return True
