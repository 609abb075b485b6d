"""What people have been told already, over restarts: no more than one message for one thing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from reconciler.cache import Cache
from reconciler.watch.notifications import Thing

_OVER = 7_200.0
"""Seconds after which a thing that no longer stands is another thing, should it come back."""
_STALE = 86_400.0
"""Seconds after which the end of a job is no news, for a watch that was away."""
_BEGUN = "begun"


class Told:
    """Knows which things are news. ``kind`` keeps apart what is told of other owners and servers.

    It is kept in the cache, so it grows with what is on the server and no further. Without a cache, the ends of jobs
    before the first look are no news, and what stands then is told again. ``clock`` gives Unix seconds.
    """

    def __init__(self, cache: Cache, kind: str, *, clock: Callable[[], float] = time.time) -> None:
        self._cache, self._kind, self._clock = cache, kind, clock
        self._told = set(cache.load(kind))
        self._seen: dict[str, float] = {}

    def news(self, standing: Iterable[Thing]) -> list[Thing]:
        """Return the things that nobody was told of yet; each is returned once."""
        now = self._clock()
        first, known = not self._told, self._told | self._seen.keys()
        fresh: list[Thing] = []
        old = [_BEGUN] if first else []
        for thing in standing:
            if thing.key not in known:
                stale = thing.ends and (first or (thing.ended_at is not None and now - thing.ended_at > _STALE))
                known.add(thing.key)
                if stale:
                    old.append(thing.key)
                else:
                    fresh.append(thing)
            self._seen[thing.key] = now
        self._forget(now)
        self.tell(old)
        return fresh

    def tell(self, keys: Iterable[str]) -> None:
        """Remember that people know."""
        new = set(keys) - self._told
        self._told |= new
        if new:
            self._cache.store(self._kind, dict.fromkeys(new, 1))

    def _forget(self, now: float) -> None:
        """Forget what has been over for long; what a former watch told counts from the first look on."""
        for key in self._told - self._seen.keys():
            self._seen[key] = now
        over = {key for key, at in self._seen.items() if now - at > _OVER} - {_BEGUN}
        for key in over:
            del self._seen[key]
        if over & self._told:
            self._told -= over
            self._cache.store(self._kind, dict.fromkeys(self._told, 1), replace=True)
