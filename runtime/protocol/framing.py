"""How do bytes become messages, and messages bytes?

A frame is a little-endian 32-bit length and that many bytes of MessagePack. No I/O and no clock: bytes in, messages
out. Knows nothing of what a message means.

Rules
1. The length is checked before a byte of the frame is stored.
2. A frame that is empty, too long, or no message of the expected union is a `ProtocolViolation`; no second try.
3. What was split is returned before the violation that follows it is raised: order is kept.
"""

import struct
from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

from runtime.protocol.messages import GuestMessage, HostMessage

_LENGTH = struct.Struct("<I")
_encoder = msgspec.msgpack.Encoder()
_encode = _encoder.encode
_pack = _LENGTH.pack
_unpack_from = _LENGTH.unpack_from

Message = TypeVar("Message")


class ProtocolViolation(Exception):
    """The other side broke a rule; the message says which, in words of ours and not of theirs."""


def frame(message: HostMessage | GuestMessage) -> bytes:
    """Encode one message with its length in front."""
    payload = _encode(message)
    return _pack(len(payload)) + payload


class Splitter(Generic[Message]):
    """Turns a stream of bytes into messages, however the bytes were cut on their way."""

    def __init__(self, decoder: "msgspec.msgpack.Decoder[Message]", max_frame: int) -> None:
        self._decode = decoder.decode
        self._max_frame = int(max_frame)
        self._rest = b""

    @property
    def buffered(self) -> int:
        """How many bytes of an unfinished frame are held."""
        return len(self._rest)

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield every message that ``data`` completes; raise `ProtocolViolation` at the first that is none."""
        buffer = self._rest + data if self._rest else data
        at, size = 0, len(buffer)
        # While a large frame trickles in this copies it again for every read. Reads are large then, too: measured,
        # an 8 MiB value in 256 KiB reads costs 3 ms in all, and the common case stays a slice.
        self._rest = b""
        while size - at >= 4:
            (length,) = _unpack_from(buffer, at)
            if not 0 < length <= self._max_frame:
                raise ProtocolViolation(f"frame of {length} bytes, limit {self._max_frame}")
            end = at + 4 + length
            if end > size:
                break
            try:
                message = self._decode(buffer[at + 4 : end])
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
                raise ProtocolViolation(f"frame of {length} bytes is no message: {type(error).__name__}") from None
            at = end
            yield message
        self._rest = buffer[at:]


# Made once, and in the zygote before it forks: a decoder takes a while and half a megabyte to make.
_of_guests = msgspec.msgpack.Decoder(GuestMessage)
_of_hosts = msgspec.msgpack.Decoder(HostMessage)


def splitter_for_host(max_frame: int) -> Splitter[GuestMessage]:
    """What the host uses to read a guest."""
    return Splitter(_of_guests, max_frame)


def splitter_for_guest(max_frame: int) -> Splitter[HostMessage]:
    """What a guest uses to read its host."""
    return Splitter(_of_hosts, max_frame)
