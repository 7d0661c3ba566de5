"""A proxy for stored files, as people write them."""

from runtime import URL, HttpRouter, Response, http_action

http = HttpRouter()


@http.route(path="/put", method="POST")
@http_action
async def put(ctx, request):
    id = await ctx.storage.store(await request.blob())
    return Response.json({"id": id, "url": await ctx.storage.get_url(id)})


@http.route(path="/get", method="GET")
@http_action
async def get(ctx, request):
    blob = await ctx.storage.get(URL(request.url).search_params.get("id"))
    return Response("gone", status=404) if blob is None else Response(blob)
