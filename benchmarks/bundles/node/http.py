"""An HTTP action for each language that calls a Node-style action."""

from runtime import HttpRouter, Response, http_action, internal

http = HttpRouter()


@http.route(path="/python", method="GET")
@http_action
async def python(ctx, request):
    return Response(await ctx.run_action(internal.machine.hello, name="world"))


@http.route(path="/node", method="GET")
@http_action
async def node(ctx, request):
    return Response(await ctx.run_action(internal.script.hello, name="world"))
