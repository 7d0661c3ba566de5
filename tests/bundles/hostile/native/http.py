"""What a bundle can try that has no language layer in front of it: Python's own doors, and messages of its own making."""

from _bundle import doors, forging
from runtime import HttpRouter, Response, http_action

ATTACKS = {**doors.DOORS, **forging.FORGERIES}
http = HttpRouter()


@http.route(path="/fine", method="GET")
@http_action
async def fine(ctx, request):
    return Response("fine")


@http.route(path="/attack/{name}", method="GET")
@http_action
async def attack(ctx, request):
    result = ATTACKS[request.path_params["name"]](ctx)
    return await result if hasattr(result, "__await__") else Response(str(result))
