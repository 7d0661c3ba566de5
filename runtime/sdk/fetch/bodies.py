"""What is in the body, and who has read it?

What `Request` and `Response` share (Fetch standard §5.2, §5.3): a body is made of what a tenant hands in, read once, or
cloned before. Knows no method, no status and no wire.

Rules
1. A body is read once; the second reader is refused with a `TypeError`. No body at all can be read for ever.
2. Bytes stay the object they were until somebody asks for a stream: the common case copies nothing.
3. What streams is pulled, never pushed: nothing is produced before somebody wants it.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator
from math import isfinite
from typing import Any, TypeAlias

import msgspec

from runtime.sdk.fetch import mime
from runtime.sdk.fetch.blob import Blob, decode_text, pieces
from runtime.sdk.fetch.headers import Headers
from runtime.sdk.fetch.multipart_form import FormData, new_boundary, read_multipart, write_multipart
from runtime.sdk.fetch.url import URLSearchParams, parse_urlencoded
from runtime.sdk.fetch.webidl import usv_string

Octets: TypeAlias = bytes  # inside a class that has a method `bytes`, the word is taken
Chunk = bytes | bytearray | memoryview | str
BodyInit = str | bytes | bytearray | memoryview | Blob | FormData | URLSearchParams | AsyncIterable[Chunk] | None

TEXT_TYPE = b"text/plain;charset=UTF-8"
_FORM_TYPE = b"application/x-www-form-urlencoded;charset=UTF-8"


class BodyStream:
    """A body piece by piece: an async iterator of `bytes`. ``disturbed`` once somebody has begun to read."""

    __slots__ = ("__weakref__", "_chunks", "disturbed")

    def __init__(self, chunks: AsyncIterable[Any]) -> None:
        self._chunks = chunks.__aiter__()
        self.disturbed = False

    def __aiter__(self) -> "BodyStream":
        return self

    async def __anext__(self) -> bytes:
        self.disturbed = True
        while True:
            chunk = await self._chunks.__anext__()
            data = chunk if type(chunk) is bytes else _chunk_bytes(chunk)
            if data:
                return data

    async def aclose(self) -> None:
        """Stop: whoever produces the pieces is told that nobody wants more."""
        self.disturbed = True
        close = getattr(self._chunks, "aclose", None)
        if close is not None:
            await close()


def _chunk_bytes(chunk: object) -> bytes:
    if isinstance(chunk, str):
        return usv_string(chunk).encode()
    if isinstance(chunk, bytes | bytearray | memoryview):
        return bytes(chunk)
    raise TypeError(f"a body that streams yields bytes or str, and this one yielded {type(chunk).__name__}")


Source = bytes | BodyStream | None


def text_bytes(text: str) -> bytes:
    """Encode text as UTF-8, U+FFFD for lone surrogates."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return usv_string(text).encode()


def extract(body: object) -> tuple[Source, bytes | None]:
    """Make a body of what a tenant handed in: what it holds, and the ``content-type`` that goes with it."""
    if body is None:
        return None, None
    if isinstance(body, str):
        return text_bytes(str.__str__(body)), TEXT_TYPE
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body), None
    if isinstance(body, Blob):
        return body.data, body.type.encode() or None
    if isinstance(body, URLSearchParams):
        return str(body).encode(), _FORM_TYPE
    if isinstance(body, FormData):
        boundary = new_boundary()
        return write_multipart(body, boundary), f"multipart/form-data; boundary={boundary}".encode()
    if isinstance(body, BodyStream) and body.disturbed:
        raise TypeError("this stream was read already: hand it on before reading it, or clone() its owner first")
    if isinstance(body, AsyncIterable):
        return BodyStream(body), None
    raise TypeError(
        f"a body is str, bytes, Blob, FormData, URLSearchParams, None or an async iterator of bytes, not "
        f"{type(body).__name__}; JSON is made with Response.json(data) or json.dumps(data)"
    )


class Body:
    """The body of a request or a response, with its readers."""

    __slots__ = ("__weakref__", "_source", "_used")

    _source: Source
    _used: bool

    @property
    def headers(self) -> Headers:
        """The headers that go with the body."""
        raise NotImplementedError

    @property
    def body_used(self) -> bool:
        """Whether somebody has read from the body."""
        return self._used or (type(self._source) is BodyStream and self._source.disturbed)

    @property
    def body(self) -> BodyStream | None:
        """The body as an async iterator of bytes, or ``None`` when there is none."""
        source = self._source
        if source is None or type(source) is BodyStream:
            return source
        stream = BodyStream(pieces(source))  # type: ignore[arg-type]  # not None, not a stream: bytes
        stream.disturbed = self._used
        if self._used:
            stream._chunks = pieces(b"")
        self._source = stream
        return stream

    async def bytes(self) -> Octets:
        """The whole body."""
        source = self._source
        if source is None:
            return b""
        self._refuse_second_reader()
        self._used = True
        if type(source) is bytes:
            return source
        return b"".join([chunk async for chunk in source])  # type: ignore[union-attr]  # a stream, then

    async def array_buffer(self) -> Octets:
        """The whole body, by the older name."""
        return await self.bytes()

    async def text(self) -> str:
        """The whole body decoded as UTF-8: no byte order mark, U+FFFD for what is malformed."""
        return decode_text(await self.bytes())

    async def blob(self) -> Blob:
        """The whole body as a Blob of the message's type."""
        kind = mime.extract(self.headers.get("content-type"))
        return Blob([await self.bytes()], "" if kind is None else str(kind))

    async def form_data(self) -> FormData:
        """The whole body as a form; `TypeError` when the message's type is no form's, or the body does not fit it."""
        kind = mime.extract(self.headers.get("content-type"))
        data = await self.bytes()
        if kind is not None and kind.essence == "multipart/form-data":
            if not kind.parameters.get("boundary"):
                raise TypeError("the content-type of the form has no boundary")
            return read_multipart(data, kind.parameters["boundary"])
        if kind is not None and kind.essence == "application/x-www-form-urlencoded":
            form = FormData()
            form._list += parse_urlencoded(data)
            return form
        raise TypeError(
            f"the body is no form: its content-type is {self.headers.get('content-type')!r}, and a form's is "
            "multipart/form-data or application/x-www-form-urlencoded"
        )

    def _refuse_second_reader(self) -> None:
        if self.body_used:
            raise TypeError(
                f"the body of this {type(self).__name__} was read already: keep what the first reader returned, "
                "or clone() before reading"
            )

    def _tee(self) -> Source:
        self._refuse_second_reader()
        if type(self._source) is not BodyStream:
            return self._source
        self._source, other = tee(self._source)
        return other


class _Tee:
    """One stream for two readers; what the faster one has read is kept for the slower."""

    __slots__ = ("ended", "error", "lock", "queues", "source")

    def __init__(self, source: BodyStream) -> None:
        self.source = source
        self.queues: tuple[deque[bytes], deque[bytes]] = (deque(), deque())
        self.lock = asyncio.Lock()
        self.ended = False
        self.error: BaseException | None = None

    async def branch(self, mine: deque[bytes]) -> AsyncIterator[bytes]:
        while True:
            if not mine:
                async with self.lock:
                    if not mine and not self.ended:
                        await self._pull()
            if mine:
                yield mine.popleft()
            elif self.error is not None:
                raise self.error
            elif self.ended:
                return

    async def _pull(self) -> None:
        try:
            chunk = await self.source.__anext__()
        except StopAsyncIteration:
            self.ended = True
        except Exception as error:
            self.ended, self.error = True, error
        except BaseException:
            # The source was cancelled under this reader's hands; the other one must not take that for the end.
            self.ended, self.error = True, TypeError("the body's other reader was cancelled")
            raise
        else:
            for queue in self.queues:
                queue.append(chunk)


def tee(stream: BodyStream) -> tuple[BodyStream, BodyStream]:
    """Split a stream for two readers."""
    both = _Tee(stream)
    return BodyStream(both.branch(both.queues[0])), BodyStream(both.branch(both.queues[1]))


# --- JSON -------------------------------------------------------------------------------------------------------------

_read_json = msgspec.json.Decoder().decode
_write_json = msgspec.json.Encoder().encode
_LEAVES = frozenset({str, int, bool, type(None)})


def decode_json(data: bytes) -> Any:
    """Parse JSON as JavaScript does; raise `ValueError` where it throws a SyntaxError."""
    try:
        return _read_json(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        pass
    # Rare: malformed (the standard library says where), malformed UTF-8, a BOM, a lone surrogate, a vast number.
    try:
        return json.loads(decode_text(data), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def encode_json(data: object) -> bytes:
    """Write JSON; `TypeError` for what has none and for circles, `ValueError` for NaN and infinity."""
    try:
        if _is_plain(data):
            return _write_json(data)
    except RecursionError:
        raise TypeError("the data is circular, or nested too deeply for JSON") from None
    except UnicodeEncodeError:
        pass  # a lone surrogate, which JSON can only write as an escape
    try:
        return json.dumps(data, allow_nan=False, separators=(",", ":")).encode()
    except RecursionError:
        raise TypeError("the data is circular, or nested too deeply for JSON") from None
    except ValueError as error:
        if "ircular" in str(error):
            raise TypeError("the data is circular: JSON cannot refer to itself") from None
        raise


def _is_plain(data: Any) -> bool:
    # msgspec is many times faster than json, but it writes NaN as null and bytes as base64: it sees only plain data.
    kind = type(data)
    if kind is dict:
        for key, item in data.items():
            if type(key) is not str or not (type(item) in _LEAVES or _is_plain(item)):
                return False
        return True
    if kind is list or kind is tuple:
        for item in data:  # noqa: SIM110  # measured: a generator costs twice as much
            if not (type(item) in _LEAVES or _is_plain(item)):
                return False
        return True
    return kind in _LEAVES or (kind is float and isfinite(data))
