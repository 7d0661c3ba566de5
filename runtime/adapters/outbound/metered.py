"""How much may still come over this connection?

A server may send without end, and in pieces that never add up to anything: header after header, interim answers, chunks
of one byte. So bytes are counted where they arrive.
"""

from typing import Any

import httpcore


class Meter:
    """How many bytes may still be read."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = 0


class Metered(httpcore.AsyncNetworkStream):
    """A connection that is broken off when more comes than its meter allows."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, meter: Meter) -> None:
        self._stream = stream
        self._meter = meter

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what has come."""
        data = await self._stream.read(max_bytes, timeout)
        self._meter.left -= len(data)
        if self._meter.left < 0:
            raise httpcore.RemoteProtocolError("it sends more than an answer may have")
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of it."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close it."""
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Speak TLS from here on; counted is what is inside."""
        return Metered(await self._stream.start_tls(ssl_context, server_hostname, timeout), self._meter)

    def get_extra_info(self, info: str) -> Any:
        """What is known about it."""
        return self._stream.get_extra_info(info)
