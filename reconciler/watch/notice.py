"""The file system says that something changed.

What it says is a hint: the source compares before anything is done, and every look at the server compares too. So a
file system that says nothing (some network disks) costs time, no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from watchfiles import Change, awatch

log = logging.getLogger(__name__)

_STEP_MS = 25
"""Changes that follow one another within this time are one."""
_LONGEST_MS = 200
_IGNORED = frozenset({".git", ".reconciler"})

Places = frozenset[tuple[str, int]]
"""What is watched: paths with their inodes, since what takes the place of a file or directory is another one."""


class Notice:
    """Calls ``changed`` whenever something below the paths that ``paths`` returns has changed; directories are whole.

    ``unable`` is told, once, where the file system cannot be watched.
    """

    def __init__(
        self, paths: Callable[[], Iterable[str]], changed: Callable[[], None], unable: Callable[[str], None]
    ) -> None:
        self._paths = paths
        self._changed = changed
        self._unable = unable
        self._task: asyncio.Task[None] | None = None
        self._armed: Places = frozenset()

    async def arm(self) -> None:
        """Watch the paths there are now; where these are others than before, what happened until then is unknown."""
        places = _places(self._paths())
        if places == self._armed:
            return
        await self.close()
        self._armed = places
        self._task = asyncio.create_task(self._watch([path for path, _ in places])) if places else None
        await asyncio.sleep(0)  # with its first step it watches
        self._changed()

    async def close(self) -> None:
        """Watch nothing more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._task, self._armed = None, frozenset()

    async def _watch(self, paths: list[str]) -> None:
        try:
            async for changes in awatch(
                *paths, watch_filter=_concerns, debounce=_LONGEST_MS, step=_STEP_MS, ignore_permission_denied=True
            ):
                if any(change is Change.deleted and path in paths for change, path in changes):
                    self._armed = frozenset()  # what is there by now is not watched, even if it has the same inode
                self._changed()
        except (OSError, RuntimeError) as error:  # too many watches, no such file system call
            log.warning("The file system cannot be watched: %s", error)
            self._unable(str(error))


def _concerns(_: Change, path: str) -> bool:
    return _IGNORED.isdisjoint(Path(path).parts)


def _places(paths: Iterable[str]) -> Places:
    """Find the directories and files that are there, none inside another."""
    found: dict[str, int] = {}
    for path in sorted(set(paths), key=len):
        if not any(str(above) in found for above in Path(path).parents):
            with contextlib.suppress(OSError):
                found[path] = Path(path).stat().st_ino
    return frozenset(found.items())
