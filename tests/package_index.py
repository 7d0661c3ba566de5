"""A package index and an npm registry on this machine, for real uv and real npm to ask.

They have what a test puts in, wheels and tarballs made by hand, and remember what they were asked for.
"""

import base64
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


class PackageIndex:
    """What can be had, and what was asked for."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.asked: list[str] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.is_asked = threading.Event()
        self._files: dict[str, bytes] = {}
        self._projects: dict[str, list[str]] = {}
        self._documents: dict[str, dict[str, Any]] = {}

    @property
    def variables(self) -> dict[str, str]:
        """What uv and npm need in their environment to come here, and to give up soon elsewhere."""
        return {
            "UV_DEFAULT_INDEX": f"{self.address}/simple",
            "UV_HTTP_RETRIES": "0",
            "NPM_CONFIG_REGISTRY": f"{self.address}/npm/",
        }

    def downloads(self) -> list[str]:
        """The files that were fetched, in order."""
        return [path.rpartition("/")[2] for path in self.asked if path.startswith("/files/")]

    def add_wheel(
        self, name: str, version: str, files: Mapping[str, str], requires: tuple[str, ...] = (), mode: int = 0o644
    ) -> None:
        """Offer a wheel with these files, all of one mode."""
        info = f"{name}-{version}.dist-info"
        metadata = "".join(
            [
                f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
                *(f"Requires-Dist: {one}\n" for one in requires),
            ]
        )
        told = {f"{info}/METADATA": metadata, f"{info}/WHEEL": _WHEEL}
        listed = "".join(f"{path},,\n" for path in (*files, *told, f"{info}/RECORD"))
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as wheel:
            for path, text in {**files, **told, f"{info}/RECORD": listed}.items():
                member = zipfile.ZipInfo(path)
                member.external_attr = (0o100000 | mode) << 16
                wheel.writestr(member, text)
        self.put(name, f"{name}-{version}-py3-none-any.whl", out.getvalue())

    def put(self, name: str, file: str, data: bytes) -> None:
        """Offer a file of a project, or another one in its place."""
        self._files[file] = data
        offered = self._projects.setdefault(name.replace("_", "-"), [])
        if file not in offered:
            offered.append(file)

    def add_sdist(self, name: str, version: str, setup: str) -> None:
        """Offer a project that would have to be built."""
        self.put(name, f"{name}-{version}.tar.gz", _tarball({f"{name}-{version}/setup.py": setup}))

    def add_npm(self, name: str, version: str, files: Mapping[str, str], **manifest: Any) -> None:
        """Offer a package of npm."""
        told = {"name": name, "version": version, **manifest}
        data = _tarball({f"package/{path}": text for path, text in {**files, "package.json": json.dumps(told)}.items()})
        file = f"{name.replace('/', '-')}-{version}.tgz"
        self._files[file] = data
        digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
        dist = {"tarball": f"{self.address}/files/{file}", "integrity": f"sha512-{digest}"}
        document = self._documents.setdefault(name, {"name": name, "versions": {}})
        document["versions"][version] = {**told, "dist": dist, "hasInstallScript": "scripts" in manifest}
        document["dist-tags"] = {"latest": version}

    def answer(self, path: str) -> bytes | None:
        """What stands at this path, for somebody who takes it."""
        self.asked.append(path)
        self.is_asked.set()
        self.may_answer.wait(60)
        return self.look(path)

    def look(self, path: str) -> bytes | None:
        """What stands at this path."""
        _, kind, rest = path.split("/", 2)
        if kind == "files":
            return self._files.get(rest)
        if kind == "npm":
            document = self._documents.get(unquote(rest))
            return json.dumps(document).encode() if document else None
        offered = self._projects.get(rest.strip("/"))
        return "".join(map(self._link, offered)).encode() if offered else None

    def _link(self, file: str) -> str:
        digest = hashlib.sha256(self._files[file]).hexdigest()
        return f'<a href="/files/{file}#sha256={digest}">{file}</a>\n'


@contextmanager
def package_index() -> Iterator[PackageIndex]:
    """An index that answers until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(index.look(self.path))

        def do_GET(self) -> None:
            found = index.answer(self.path)
            self._answer(found)
            self.wfile.write(found or b"")

        def handle(self) -> None:
            # Who asked may have been killed.
            with suppress(ConnectionError):
                super().handle()

        def _answer(self, found: bytes | None) -> None:
            kind = "text/html" if self.path.startswith("/simple") else "application/json"
            self.send_response(404 if found is None else 200)
            self.send_header("content-type", "application/octet-stream" if self.path.startswith("/files") else kind)
            self.send_header("content-length", str(len(found or b"")))
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        index = PackageIndex(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield index
        finally:
            index.may_answer.set()
            server.shutdown()
            thread.join()


_WHEEL = "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def _tarball(files: Mapping[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()
