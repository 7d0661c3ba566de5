"""Is another server at work in this directory?

Rules
1. The lock is the kernel's: it ends with the process that holds it, however it ends.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.errors import OurMistake


@contextmanager
def alone_in(data: Path) -> Iterator[None]:
    """Be the only server of this directory: two would each believe that they know what stands in its files."""
    with (data / "in-use").open("ab") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OurMistake(f"another server keeps its data in {data}; stop it, or choose another directory") from None
        yield
