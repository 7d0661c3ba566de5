"""Four ways not to come back."""

from itertools import repeat

from runtime import HttpRouter, Response, http_action

http = HttpRouter()


@http.route(path="/loop", method="GET")
@http_action
async def loop(ctx, request):
    while True:
        pass


@http.route(path="/c-loop", method="GET")
@http_action
async def c_loop(ctx, request):
    return Response(str(sum(repeat(1, 10**15))))


@http.route(path="/power", method="GET")
@http_action
async def power(ctx, request):
    nine = 9
    return Response(str(nine**nine**nine))


@http.route(path="/list", method="GET")
@http_action
async def big_list(ctx, request):
    return Response(str(len([0] * (10 * 2**30 // 8))))
