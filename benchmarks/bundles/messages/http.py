"""JSON in, a mutation, a durable commit."""

from runtime import HttpRouter, Response, http_action, internal

http = HttpRouter()


@http.route(path="/postMessage", method="POST")
@http_action
async def post_message(ctx, request):
    message = await request.json()
    body = f"Sent via HTTP action: {message['body']}"
    await ctx.run_mutation(internal.messages.send_one, author=message["author"], body=body)
    return Response(None, status=200)
