"""The page, and the script that keeps it up to date."""

from runtime import HttpRouter, Response, env, http_action

from .page import LIVE, PAGE

http = HttpRouter()


@http.route(path="/", method="GET")
@http_action
async def page(ctx, request):
    """The page; it learns here where the functions are."""
    html = PAGE.replace("CLOUD_URL", env["WARREN_CLOUD_URL"])
    return Response(html, headers={"content-type": "text/html;charset=UTF-8"})


@http.route(path="/live.js", method="GET")
@http_action
async def live(ctx, request):
    """The script."""
    return Response(LIVE, headers={"content-type": "text/javascript;charset=UTF-8"})
