"""Messages: posted over HTTP, kept in a table, read back by author."""

from urllib.parse import unquote_plus

from runtime import URL, Response, http_action, internal, internal_mutation, internal_query


@internal_mutation
async def send_one(ctx, author: str, body: str) -> None:
    await ctx.db.insert("messages", {"author": author, "body": body})


@internal_query
async def list_by_author(ctx, author: str) -> list[dict[str, str]]:
    messages = await ctx.db.query("messages").collect()
    return [{"author": m["author"], "body": m["body"]} for m in messages if m["author"] == author]


@http_action
async def post_message(ctx, request):
    """POST {"author": …, "body": …}: keep one message. The answer leaves when the message is safe on disk."""
    try:
        message = await request.json()
        author, body = message["author"], message["body"]
    except (ValueError, TypeError, KeyError):
        return Response('Send a JSON object with "author" and "body"', status=400)
    if not isinstance(author, str) or not isinstance(body, str):
        return Response('"author" and "body" must be strings', status=400)
    await ctx.run_mutation(internal.messages.send_one, author=author, body=f"Sent via HTTP action: {body}")
    print(f"{author} posted {len(body)} characters")
    return Response(None, status=200)


@http_action
async def get_by_author(ctx, request):
    """GET ?author=User+123, or ?authorNumber=123 for the same: the messages of one author."""
    asked = URL(request.url).search_params
    author = asked.get("author")
    if author is None:
        number = asked.get("authorNumber") or request.headers.get("authorNumber")
        if number is None:
            return Response("Say whose messages: ?author=User+123 or ?authorNumber=123", status=400)
        author = f"User {number}"
    return Response.json(await ctx.run_query(internal.messages.list_by_author, author=author))


@http_action
async def get_by_author_path_suffix(ctx, request):
    """GET /getAuthorMessages/User+123: the messages of the author that the rest of the path names."""
    author = unquote_plus(URL(request.url).pathname.removeprefix("/getAuthorMessages/"))
    return Response.json(await ctx.run_query(internal.messages.list_by_author, author=author))
