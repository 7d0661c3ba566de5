"""How do bytes become messages, and messages bytes?

A frame is a little-endian 32-bit length and that many bytes of MessagePack. No I/O and no clock: bytes in, messages
out. Knows nothing of what a message means.

Rules
1. The length is checked before a byte of the frame is stored.
2. A frame that is empty, too long, of too many things, or no message of the expected union is a `ProtocolViolation`; no
   second try.
3. What was split is returned before the violation that follows it is raised: order is kept.
4. The work is by the byte, however small the pieces are in which a frame comes.
"""

import struct
from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

from runtime.limits import GUEST_FRAME_ITEMS
from runtime.protocol.messages import GuestMessage, HostMessage
from runtime.protocol.weighing import SHORT, holds_more_than

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

    def __init__(
        self, decoder: "msgspec.msgpack.Decoder[Message]", max_frame: int, max_items: int | None = None
    ) -> None:
        self._decode = decoder.decode
        self._max_frame = int(max_frame)
        self._max_items = max_items
        self._rest = bytearray()
        self._wanted = 0  # so many bytes must be there before another look is worth it

    @property
    def buffered(self) -> int:
        """How many bytes of an unfinished frame are held."""
        return len(self._rest)

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield every message that ``data`` completes; raise `ProtocolViolation` at the first that is none."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted:
                return
            data = bytes(self._rest)
            self._rest.clear()
        at, size, wanted = 0, len(data), 4
        while size - at >= 4:
            (length,) = _unpack_from(data, at)
            if not 0 < length <= self._max_frame:
                raise ProtocolViolation(f"frame of {length} bytes, limit {self._max_frame}")
            end = at + 4 + length
            if end > size:
                wanted = 4 + length
                break
            message = self._read(data[at + 4 : end])
            at = end
            yield message
        if at < size:
            self._rest += data[at:] if at else data
            self._wanted = wanted

    def _read(self, payload: bytes) -> Message:
        length = len(payload)
        if length > SHORT and self._max_items is not None and holds_more_than(self._max_items, payload):
            raise ProtocolViolation(f"frame of {length} bytes with more than {self._max_items} items")
        try:
            return self._decode(payload)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise ProtocolViolation(f"frame of {length} bytes is no message: {type(error).__name__}") from None


# Made once, and in the zygote before it forks: a decoder takes a while and half a megabyte to make.
_of_guests = msgspec.msgpack.Decoder(GuestMessage)
_of_hosts = msgspec.msgpack.Decoder(HostMessage)


def splitter_for_host(max_frame: int) -> Splitter[GuestMessage]:
    """What the host uses to read a guest."""
    return Splitter(_of_guests, max_frame, int(GUEST_FRAME_ITEMS))


def splitter_for_guest(max_frame: int) -> Splitter[HostMessage]:
    """What a guest uses to read its host."""
    return Splitter(_of_hosts, max_frame)
