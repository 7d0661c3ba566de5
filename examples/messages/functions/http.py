"""Which function answers which request? The routes of this deployment."""

from runtime import HttpRouter, Response, http_action

from .messages import get_by_author, get_by_author_path_suffix, post_message

http = HttpRouter()


@http.route(path="/", method="GET")
@http_action
async def hello(ctx, request):
    return Response(f"Hello from {request.url}")


http.route(path="/postMessage", method="POST", handler=post_message)
http.route(path="/getMessagesByAuthor", method="GET", handler=get_by_author)

# Answers /getAuthorMessages/User+123, /getAuthorMessages/User+234 and so on.
http.route(path_prefix="/getAuthorMessages/", method="GET", handler=get_by_author_path_suffix)
