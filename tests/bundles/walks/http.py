"""Handlers for the walks: one for each thing that a client can see."""

import asyncio
import logging

from runtime import ApplicationError, FormData, Headers, HttpRouter, Response, api, env, http_action, internal

http = HttpRouter()


def route(path, method="GET"):
    """Register an HTTP action under an exact path."""
    return lambda function: http.route(path=path, method=method, handler=http_action(function))


@route("/hello")
async def hello(ctx, request):
    return Response(f"Hello from {request.url}")


@route("/plain")
def plain(ctx, request):
    return Response("a plain def")


@http.route(path="/users/{user}/posts/{post}", method="GET")
@http_action
async def post(ctx, request):
    return Response.json(request.path_params)


@http.route(path="/users/me/posts/{post}", method="PUT")
@http_action
async def put_post(ctx, request):
    return Response.json({"put": request.path_params["post"]})


@http.route(path="/users/me/posts/last", method="GET")
@http_action
async def last_post(ctx, request):
    return Response("the exact path wins")


@http.route(path_prefix="/users/", method="GET")
@http_action
async def users(ctx, request):
    return Response("prefix /users/")


@http.route(path_prefix="/users/me/", method="GET")
@http_action
async def me(ctx, request):
    return Response("prefix /users/me/")


@route("/echo", "POST")
async def echo(ctx, request):
    return Response(await request.bytes(), headers={"content-type": request.headers.get("content-type") or "x/none"})


@route("/form", "POST")
async def form(ctx, request):
    form = await request.form_data()
    upload = form.get("upload")
    return Response.json({"text": form.get_all("text"), "name": upload.name, "type": upload.type, "size": upload.size})


@route("/relay", "POST")
async def relay(ctx, request):
    return Response(request.body)


@route("/count", "POST")
async def count(ctx, request):
    total = 0
    async for piece in request.body:
        total += len(piece)
    return Response(str(total))


@route("/cookies")
async def cookies(ctx, request):
    headers = Headers([("set-cookie", "a=1"), ("set-cookie", "b=2; Path=/"), ("x-thing", "one"), ("x-thing", "two")])
    return Response("two cookies", headers=headers)


@route("/bytes")
async def some_bytes(ctx, request):
    return Response(bytes(range(256)))


@route("/form-out")
async def form_out(ctx, request):
    form = FormData()
    form.append("a", "1")
    return Response(form)


@route("/stream")
async def stream(ctx, request):
    async def pieces():
        for number in range(5):
            yield f"piece {number}\n"
            await asyncio.sleep(0)

    return Response(pieces(), headers={"content-type": "text/plain"})


@route("/flood")
async def flood(ctx, request):
    async def pieces():
        for _ in range(30):
            yield b"x" * 1024 * 1024

    return Response(pieces())


@route("/too-much")
async def too_much(ctx, request):
    return Response(b"x" * (20 * 1024 * 1024 + 1))


@route("/broken-stream")
async def broken_stream(ctx, request):
    async def pieces():
        yield b"the beginning"
        raise RuntimeError("and no end")

    return Response(pieces())


@route("/endless")
async def endless(ctx, request):
    async def pieces():
        try:
            while True:
                yield b"tick\n"
                await asyncio.sleep(0.01)
        finally:
            print("the stream was closed")

    return Response(pieces())


@route("/wait-for-leave")
async def wait_for_leave(ctx, request):
    print("waiting")
    await request.signal.wait()
    print("the client has left")
    return Response("nobody reads this")


@route("/left-behind")
async def left_behind(ctx, request):
    asyncio.create_task(asyncio.sleep(3600))
    return Response("done")


@route("/raise")
async def raises(ctx, request):
    print("about to fail")
    deep({})
    return Response("never")


def deep(empty):
    """Fail a level deeper than the handler."""
    return empty["missing"]


@route("/application-error")
async def application_error(ctx, request):
    raise ApplicationError({"code": "OUT_OF_TEA", "left": 0})


@route("/number")
async def number(ctx, request):
    return 42


@route("/bad-header")
async def bad_header(ctx, request):
    return Response("x", headers={"x-split": "a\r\nset-cookie: evil=1"})


@route("/spin")
async def spin(ctx, request):
    while True:
        pass


@route("/spin-quietly")
async def spin_quietly(ctx, request):
    while True:
        try:
            while True:
                pass
        except BaseException:
            continue


@route("/huge")
async def huge(ctx, request):
    return Response(str(len([0] * (10 * 2**30))))


@route("/log")
async def log(ctx, request):
    print("printed", 1, sep="-")
    logging.getLogger("tenant").warning("warned %s", "once")
    for line in range(400):
        print("line", line)
    return Response(ctx.request_id)


@route("/env")
async def variable(ctx, request):
    return Response.json({key: value for key, value in env.items()})


@route("/insert", "POST")
async def insert(ctx, request):
    return Response.json(await ctx.run_mutation(internal.notes.add, text=(await request.json())["text"]))


@route("/list")
async def list_notes(ctx, request):
    return Response.json(await ctx.run_query(api.notes.texts))
