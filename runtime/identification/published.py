"""What does this provider publish, as far as we have read?

Remembers documents by their URL, for all deployments together: what stands at a URL is the same for everybody. Reads
them through the port `KeySets`. Knows no token.

Rules
1. One reads and the others wait for what it reads (single flight), however many ask.
2. What is older than `KEY_SET_AGE` is read again before it is used. Where that fails, the old document serves on until
   it is `KEY_SET_STALE` old.
3. After a failure nobody is asked for a while, twice as long each time: a provider that is down is not hammered, and
   who needs it is told at once.
4. `newer` reads early, for a token with a key that nobody knows yet: `KEY_SET_REFRESHES` times a minute at most,
   because anybody can make up a key's name.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from runtime import limits
from runtime.ports import Clock, KeySets, LookupFailed

log = logging.getLogger("warren.identification")

T = TypeVar("T")

_AGE = limits.KEY_SET_AGE / 1000
_AGE_AT_LEAST = 60.0
_STALE = limits.KEY_SET_STALE / 1000
_REFRESH_EVERY = 60 / limits.KEY_SET_REFRESHES
_REMEMBERED = 512
_FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0


class _Entry(Generic[T]):
    """One document: what is known of it, and how the last reading went. Times are in seconds of `Clock.monotonic`."""

    __slots__ = (
        *("value", "read_at", "fresh_until"),
        *("reading", "failures", "problem", "retry_at"),
        *("refreshes", "refreshes_at"),
    )

    def __init__(self) -> None:
        self.value: T | None = None
        self.read_at = 0.0
        self.fresh_until = 0.0
        self.reading: asyncio.Task[None] | None = None
        self.failures = 0
        self.problem = ""
        self.retry_at = 0.0
        self.refreshes = float(limits.KEY_SET_REFRESHES)
        self.refreshes_at = 0.0

    def take_refresh(self, now: float) -> bool:
        """Whether one more early reading is allowed now."""
        since, self.refreshes_at = now - self.refreshes_at, now
        self.refreshes = min(float(limits.KEY_SET_REFRESHES), self.refreshes + since / _REFRESH_EVERY)
        if self.refreshes < 1:
            return False
        self.refreshes -= 1
        return True


class Published(Generic[T]):
    """Documents of one sort, by URL; ``parse`` reads one, and raises `ValueError` for what is none."""

    def __init__(self, key_sets: KeySets, clock: Clock, parse: Callable[[bytes], T]) -> None:
        self._key_sets = key_sets
        self._clock = clock
        self._parse = parse
        self._entries: OrderedDict[str, _Entry[T]] = OrderedDict()

    async def find(self, url: str) -> T:
        """The document at this URL; raises `LookupFailed`."""
        entry = self._entry(url)
        now = self._clock.monotonic()
        if entry.value is not None and now < entry.fresh_until:
            return entry.value
        if now >= entry.retry_at:
            await self._read(url, entry)
        return self._usable(entry)

    async def newer(self, url: str, wanted: Callable[[T], bool]) -> T:
        """The document after reading it again, unless what is there is ``wanted`` or nothing may be read now."""
        entry = self._entry(url)
        for _ in range(2):
            if entry.value is not None and wanted(entry.value):
                break
            now = self._clock.monotonic()
            # A reading under way began before this was asked, and may show the time before: then once more.
            begun_before = entry.reading is not None
            if not begun_before and (now < entry.retry_at or not entry.take_refresh(now)):
                break
            await self._read(url, entry)
            if not begun_before:
                break
        return self._usable(entry)

    def close(self) -> None:
        """Stop what is being read."""
        for entry in self._entries.values():
            if entry.reading is not None:
                entry.reading.cancel()

    def _entry(self, url: str) -> _Entry[T]:
        entry = self._entries.get(url)
        if entry is None:
            entry = self._entries[url] = _Entry()
            if len(self._entries) > _REMEMBERED:
                _, oldest = self._entries.popitem(last=False)
                if oldest.reading is not None:
                    oldest.reading.cancel()
        else:
            self._entries.move_to_end(url)
        return entry

    def _usable(self, entry: _Entry[T]) -> T:
        now = self._clock.monotonic()
        if entry.value is not None and now < max(entry.fresh_until, entry.read_at + _STALE):
            return entry.value
        wait = max(1, round(entry.retry_at - now))
        raise LookupFailed(f"{entry.problem}; it is asked again in {wait} s at the earliest")

    async def _read(self, url: str, entry: _Entry[T]) -> None:
        if entry.reading is None:
            entry.reading = asyncio.get_running_loop().create_task(self._fetch(url, entry))
        # Whoever waits may leave; the others still want it.
        await asyncio.wait([entry.reading])

    async def _fetch(self, url: str, entry: _Entry[T]) -> None:
        try:
            found = await self._key_sets.read(url)
            value = self._parse(found.body)
        except (LookupFailed, ValueError) as error:
            self._failed(entry, str(error))
        except asyncio.CancelledError:
            self._failed(entry, "the look-up was given up")
            raise
        except Exception:
            log.exception("reading %s failed", url[:200])
            self._failed(entry, "the look-up failed on this server's side")
        else:
            now = self._clock.monotonic()
            age = _AGE if found.lasts is None else min(_AGE, max(_AGE_AT_LEAST, found.lasts))
            entry.value, entry.read_at, entry.fresh_until = value, now, now + age
            entry.failures, entry.problem, entry.retry_at = 0, "", 0.0
        finally:
            entry.reading = None

    def _failed(self, entry: _Entry[T], problem: str) -> None:
        entry.problem = problem
        entry.retry_at = self._clock.monotonic() + min(_LONGEST_WAIT, _FIRST_WAIT * 2**entry.failures)
        entry.failures = min(entry.failures + 1, 10)
