"""Makes load and measures it.

Throughput and latency under load come from ``wrk`` (Debian: ``apt-get install wrk``), because a load generator in
Python would measure itself. Single requests that must be timed one by one go through `Line`, a bare socket.
"""

import re
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


@dataclass(frozen=True)
class Sample:
    """One run of the load generator. Latencies in milliseconds; ``errors`` are answers that were no 2xx, and breaks."""

    rate: float
    p50: float
    p99: float
    errors: int


def wrk_is_missing() -> str | None:
    """Why there can be no load, or ``None``."""
    if shutil.which("wrk") is None:
        return "wrk is not installed: apt-get install wrk"
    return None


def wrk(url: str, connections: int, seconds: float, script: Path | None = None, host: str | None = None) -> Sample:
    """Load one URL for some seconds from one thread."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", "--timeout", "10s"]
    command += ["-s", str(script)] if script else []
    command += ["-H", f"Host: {host}"] if host else []
    output = subprocess.run([*command, url], capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
    return _parse(output)


def _parse(output: str) -> Sample:
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert rate, output
    errors = sum(int(number) for number in re.findall(r"(?:connect|read|write|timeout) (\d+)", output))
    errors += sum(int(number) for number in re.findall(r"(?:Non-2xx or 3xx responses|Failed calls): (\d+)", output))
    return Sample(float(rate[1]), _percentile(output, 50), _percentile(output, 99), errors)


def _percentile(output: str, percent: int) -> float:
    found = re.search(rf"\s{percent}%\s+([\d.]+)(us|ms|s|m)\b", output)
    assert found, output
    return float(found[1]) * _UNITS[found[2]]


class Line:
    """One kept-alive connection on which requests are timed one by one."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def get(self, path: str, host: str) -> tuple[int, bytes, float]:
        """Status, body and milliseconds of one GET."""
        began = time.perf_counter()
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        status, body = self._response()
        return status, body, (time.perf_counter() - began) * 1000

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _response(self) -> tuple[int, bytes]:
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        assert length, head
        size = int(length[1])
        while len(self._buffer) < size:
            self._more()
        body, self._buffer = self._buffer[:size], self._buffer[size:]
        return int(head.split(b" ", 2)[1]), body

    def _more(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("the server hung up")
        self._buffer += data
