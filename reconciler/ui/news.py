"""News for every page that is open, as server-sent events.

They say only that something changed; pages then ask for what they show. One look at the source serves all
readers, and without readers there is none.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from reconciler.errors import ReconcilerError

PAUSE = 0.5
"""Seconds between two looks."""
_SIGN_OF_LIFE = 15.0
MOST_READERS = 256


class News:
    """Watches a version for its readers."""

    def __init__(self, version: Callable[[], Awaitable[str]], *, pause: float = PAUSE) -> None:
        self._version, self._pause = version, pause
        self._current: str | None = None
        self._changed = asyncio.Event()
        self._readers = 0
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether there are as many readers as there may be."""
        return self._readers >= MOST_READERS

    async def read(self) -> AsyncIterator[str]:
        """Yield the stream: the version at once, and again whenever it is another; ends when closed."""
        self._readers += 1
        try:
            if self._looking is None:
                self._looking = asyncio.create_task(self._look())
            yield "retry: 2000\n\n"
            seen = None
            while not self._closed:
                changed = self._changed
                if self._current != seen:
                    seen = self._current
                    yield f"data: {seen}\n\n"
                try:
                    async with asyncio.timeout(_SIGN_OF_LIFE):
                        await changed.wait()
                except TimeoutError:
                    yield ": nothing new\n\n"
        finally:
            self._readers -= 1
            if not self._readers and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    def close(self) -> None:
        """End every stream: the server stops."""
        self._closed = True
        self._tell()

    async def _look(self) -> None:
        while True:
            with contextlib.suppress(ReconcilerError):  # what the pages ask for next says it better
                current = await self._version()
                if current != self._current:
                    self._current = current
                    self._tell()
            await asyncio.sleep(self._pause)

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
