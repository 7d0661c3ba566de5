"""Answers that no HTTP client should be sent."""

from runtime import Headers, Response


class Text(str):
    def encode(self, *rest):
        return b"lie\r\n\r\n"


def _evil(status=200, headers=None, body="ok"):
    def attack(ctx):
        answer = Response(body, status=status, headers=headers)
        return answer

    return attack


def lengths(ctx):
    headers = Headers([("content-length", "5"), ("transfer-encoding", "chunked"), ("connection", "close, x")])
    headers.append("content-length", "9999")
    headers.append("x-request-id", "forged")
    headers.append("keep-alive", "timeout=1")
    headers.append("upgrade", "h2c")
    return Response("HTTP/1.1 200 OK\r\n\r\nsmuggled", headers=headers)


def rubbish_pieces(ctx):
    async def pieces():
        yield b"begun"
        yield object()

    return Response(pieces())


def pieces_that_raise(ctx):
    async def pieces():
        yield b"begun"
        raise SystemError("no more")

    return Response(pieces())


def nothing(ctx):
    return None


def anything(ctx):
    return {"status": 200}


class Fake(Response):
    def wire_head(self):
        return 200, [(b"x\r\nset-cookie: a=1", b"b\r\n\r\nsmuggled")]

    def wire_body(self):
        return b"ok"


ANSWERS = {
    "split_value": _evil(headers={"x-thing": "a\r\nset-cookie: stolen=1\r\n\r\nsmuggled"}),
    "split_name": _evil(headers={"x\r\nset-cookie: stolen": "1"}),
    "nul": _evil(headers={"x-thing": "a\0b"}),
    "status_zero": _evil(status=0),
    "status_huge": _evil(status=10**30),
    "status_informational": _evil(status=101),
    "status_text": _evil(status="200 OK\r\nset-cookie: stolen=1"),
    "many_headers": _evil(headers=[(f"x-{number}", "1") for number in range(100_000)]),
    "long_header": _evil(headers={"x-thing": "x" * 10**6}),
    "text_that_lies": _evil(headers={"x-thing": Text("fine")}, body=Text("fine")),
    "fake": lambda ctx: Fake("fine"),
    "lengths": lengths,
    "rubbish_pieces": rubbish_pieces,
    "pieces_that_raise": pieces_that_raise,
    "nothing": nothing,
    "anything": anything,
}
