"""What does a provider publish, in a process that asks nobody?

The port `KeySets` over a dictionary: for tests, and the specification of the port.
"""

from runtime.ports import LookupFailed, Reading


class MemoryKeySets:
    """Documents by URL; what is not there cannot be had. ``asked`` is every URL that was read, in order."""

    def __init__(self) -> None:
        self.documents: dict[str, Reading] = {}
        self.asked: list[str] = []

    def publish(self, url: str, body: bytes, lasts: float | None = None) -> None:
        """Put a document there, or another one in its place."""
        self.documents[url] = Reading(body, lasts)

    def withdraw(self, url: str) -> None:
        """Take it away again."""
        del self.documents[url]

    async def read(self, url: str) -> Reading:
        """Read one document; raise `LookupFailed`."""
        self.asked.append(url)
        found = self.documents.get(url)
        if found is None:
            raise LookupFailed(f"{url[:200]} answered 404, not 200")
        return found
