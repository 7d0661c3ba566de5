"""A guest to talk to: the real one, in a thread, with a socket pair for a channel. No lock-down, no zygote."""

import itertools
import socket
import threading
from collections.abc import Mapping
from typing import Any, TypeVar

from msgspec import Raw

from runtime import limits
from runtime.protocol import values
from runtime.protocol.declaration import Declaration, Diagnostic, Kind
from runtime.protocol.framing import frame, splitter_for_host
from runtime.protocol.messages import (
    Answer,
    CallFunction,
    CallHttp,
    Chunk,
    Failed,
    Failure,
    GuestMessage,
    Head,
    HostMessage,
    Line,
    Load,
    Loaded,
    LoadRefused,
    Ready,
    Returned,
    Syscall,
)
from runtime.sandbox.guest_main import Guest

Said = TypeVar("Said")
NOW = 1_700_000_000_000.0


class Host:
    """The other end of a guest's channel, for a test to speak from."""

    def __init__(self, manners: bool = True) -> None:
        self.manners = manners
        self._socket, self._guest_end = socket.socketpair()
        self._socket.settimeout(10)
        self._splitter = splitter_for_host(limits.GUEST_FRAME)
        self._waiting: list[GuestMessage] = []
        self._cids = itertools.count(1)
        self.start(self._guest_end)
        assert self.expect(Ready).layers == ("none",)

    def start(self, guest_end: socket.socket) -> None:
        """Start the guest at the other end."""
        guest = Guest(guest_end.fileno())
        self._thread = threading.Thread(target=guest.serve, args=(("none",),), daemon=True)
        self._thread.start()

    def hang_up(self) -> None:
        """Close both ends of ours."""
        self._socket.close()
        self._guest_end.close()

    def close(self) -> None:
        """Hang up, and wait until the guest has noticed."""
        self._socket.close()
        self._thread.join(10)
        assert not self._thread.is_alive()
        self.hang_up()

    # --- speaking -----------------------------------------------------------------------------------------------------

    def say(self, *messages: HostMessage) -> None:
        """Send these messages in one go."""
        self._socket.sendall(b"".join(map(frame, messages)))

    def load(self, files: Mapping[str, str | bytes], environment: Mapping[str, str] | None = None) -> Declaration:
        """Load a bundle that must be accepted."""
        self.say_load(files, environment)
        answer = self._loaded()
        assert isinstance(answer, Loaded), answer
        return answer.declaration

    def load_refused(self, files: Mapping[str, str | bytes]) -> list[Diagnostic]:
        """Load a bundle that must be refused."""
        self.say_load(files)
        return self.refused()

    def refused(self) -> list[Diagnostic]:
        """Why the bundle was refused."""
        answer = self._loaded()
        assert isinstance(answer, LoadRefused), answer
        return list(answer.diagnostics)

    def say_load(self, files: Mapping[str, str | bytes], environment: Mapping[str, str] | None = None) -> None:
        """Send a bundle, and do not wait."""
        bundle = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
        self.say(Load(bundle, dict(environment or {}), "happy-otter-123", self.manners))

    def _loaded(self) -> GuestMessage:
        while isinstance(answer := self.next(), Line):
            assert answer.cid == 0
        return answer

    def call(self, path: str, kind: Kind = Kind.QUERY, /, seed: bytes = b"0" * 16, **args: Any) -> int:
        """Begin a call of a function, and return its conversation."""
        cid = next(self._cids)
        self.say(CallFunction(cid, path, kind, Raw(values.encode(args)), f"request-{cid}", NOW, seed))
        return cid

    def request(
        self,
        route: str = "GET /",
        *,
        body: bytes | None = None,
        last: bool = True,
        url: str = "http://site/",
        **more: Any,
    ) -> int:
        """Begin an HTTP request, and return its conversation."""
        cid = next(self._cids)
        method = more.get("method") or route.partition(" ")[0]
        headers = more.get("headers", [(b"host", b"site")])
        self.say(CallHttp(cid, route, method, url, headers, more.get("params", {}), body, last, f"request-{cid}"))
        return cid

    def answer(self, asked: Syscall, value: Any) -> None:
        """Answer a syscall with this value."""
        self.say(Answer(asked.cid, asked.sid, Raw(values.encode(value))))

    # --- listening ----------------------------------------------------------------------------------------------------

    def next(self) -> GuestMessage:
        """Whatever the guest says next."""
        while not self._waiting:
            data = self._socket.recv(1 << 20)
            assert data, "the guest hung up"
            self._waiting.extend(self._splitter.feed(data))
        return self._waiting.pop(0)

    def expect(self, kind: type[Said]) -> Said:
        """The next message, which must be of this kind."""
        message = self.next()
        assert isinstance(message, kind), message
        return message

    def asked(self) -> tuple[Syscall, list[Any]]:
        """The next message, which must be a syscall, and its decoded arguments."""
        asked = self.expect(Syscall)
        return asked, values.decode(asked.args)

    def returned(self) -> Any:
        """The next message, which must be a result, decoded."""
        return values.decode(self.expect(Returned).value)

    def failed(self) -> Failure:
        """The next message, which must be a failure."""
        return self.expect(Failed).failure

    def answered(self) -> Head:
        """The next message, which must be a whole response."""
        head = self.expect(Head)
        assert head.last
        return head

    def lines(self) -> list[str]:
        """The log lines up to the next last word, which is dropped."""
        found = []
        while isinstance(message := self.next(), Line):
            found.append(f"{message.level.value}: {message.text}")
        assert isinstance(message, Returned | Failed | Head)
        return found

    def body(self) -> bytes:
        """Everything up to the last piece of a streamed response."""
        pieces = []
        while True:
            chunk = self.expect(Chunk)
            pieces.append(chunk.data)
            if chunk.last:
                return b"".join(pieces)


def http(handler: str, imports: str = "") -> dict[str, str]:
    """A bundle with one route, ``GET /`` and ``POST /``, and this code for its handler's body."""
    body = "\n".join("    " + line for line in handler.splitlines())
    return {
        "http.py": "import asyncio\nfrom runtime import HttpRouter, Response, http_action\n"
        f"{imports}\nhttp = HttpRouter()\n\n"
        f'@http.route(path="/", method="GET")\n@http.route(path="/", method="POST")\n'
        f"@http_action\nasync def handle(ctx, request):\n{body}\n"
    }
