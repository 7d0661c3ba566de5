"""Which function answers which request? The routes of this deployment."""

from runtime import HttpRouter, Response, env, http_action, internal

from .links import add, by_slug

http = HttpRouter()


@http.route(path="/links", method="POST")
@http_action
async def create(ctx, request):
    try:
        asked = await request.json()
        title, url = str(asked["title"]), str(asked["url"])
    except (ValueError, TypeError, KeyError):
        return Response('Send {"title": …, "url": …} as JSON', status=400)
    # Node-style modules are never imported here: they are named.
    slug = await ctx.run_action(internal.slugs.make, title=title)
    if not slug or not url.startswith(("https://", "http://")):
        return Response("A title needs letters or digits, and a URL begins with http:// or https://", status=400)
    if not await ctx.run_mutation(add, slug=slug, url=url):
        return Response(f"There is a link of that name: {slug}", status=409)
    return Response.json({"slug": slug}, status=201)


@http.route(path="/links/{slug}", method="GET")
@http_action
async def follow(ctx, request):
    link = await ctx.run_query(by_slug, slug=request.path_params["slug"])
    return Response.redirect(link["url"]) if link else Response("There is no such link", status=404)


@http.route(path="/links/{slug}/qr", method="GET")
@http_action
async def show_code(ctx, request):
    link = await ctx.run_query(by_slug, slug=request.path_params["slug"])
    if link is None:
        return Response("There is no such link", status=404)
    address = f"{env['WARREN_SITE_URL']}/links/{link['slug']}"
    picture = await ctx.run_action(internal.codes.draw, text=address)
    return Response(picture, headers={"content-type": "image/svg+xml"})
