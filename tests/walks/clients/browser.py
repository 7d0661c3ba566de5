"""What does a person see in a real browser? A headless one, told what to do through `browser.mjs`."""

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.walks.clients.npm_packages import chromium, node


class Browser:
    """One page in a browser of its own."""

    def __init__(self, scripts: Path) -> None:
        self._process = subprocess.Popen(
            [node(), str(scripts / "browser.mjs"), chromium()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        finally:
            self._process.kill()
            self._process.stdout.close()

    def open(self, url: str) -> None:
        """Go to a page."""
        self._do("open", url)

    def fill(self, where: str, text: str) -> None:
        """Write into a field."""
        self._do("fill", where, text)

    def click(self, where: str) -> None:
        """Press something."""
        self._do("click", where)

    def texts(self, where: str, expected: list[str]) -> list[str]:
        """What can be read there: ``expected`` as soon as it is, else what is there after twenty seconds."""
        return list(self._do("texts", where, expected))

    def picture(self, path: Path) -> None:
        """Keep what is seen as a PNG."""
        self._do("picture", str(path))

    def complaints(self) -> list[str]:
        """What the page's scripts did not catch."""
        return list(self._do("complaints"))

    def _do(self, *deed: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps(deed), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, f"the browser ended during {deed}"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["value"]
