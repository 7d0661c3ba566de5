"""The smallest handler there is."""

from runtime import HttpRouter, Response, http_action

http = HttpRouter()


@http.route(path="/hello", method="GET")
@http_action
async def hello(ctx, request):
    return Response("Hello, world!")
