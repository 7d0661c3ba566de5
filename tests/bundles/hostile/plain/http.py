"""``GET /attack/<name>`` runs one attack; ``GET /fine`` says that nothing happened."""

from runtime import HttpRouter, Response, http_action

from .answers import ANSWERS
from .burning import BURNING
from .memory import MEMORY
from .raising import RAISING

ATTACKS = {**ANSWERS, **BURNING, **MEMORY, **RAISING}
http = HttpRouter()


@http.route(path="/fine", method="GET")
@http_action
async def fine(ctx, request):
    return Response("fine")


@http.route(path="/attack/{name}", method="GET")
@http_action
async def attack(ctx, request):
    result = ATTACKS[request.path_params["name"]](ctx)
    return await result if hasattr(result, "__await__") else result
