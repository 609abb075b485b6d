"""Messages on their way to one address: in their own time, again until they are taken, several as one where asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from reconciler.spec.notifications import Event

Send = Callable[[str, str, Event], Awaitable[str]]
"""Sends a title and a body, and returns why they were not taken; empty where they were."""

AT_ONCE = 10
"""Messages that wait at one time and are still sent one by one; more become a digest."""
_MOST = 200
"""Messages that wait; older ones than that are dropped."""
_LONGEST_PAUSE = 300.0
_DIGEST = 1_500
"""Characters of a digest's body: what every chat takes."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message about one thing or several, by their keys."""

    event: Event
    title: str
    body: str
    keys: tuple[str, ...]


def digest(messages: Sequence[Message]) -> Message:
    """Make one message of several; a single one stays as it is."""
    if len(messages) == 1:
        return messages[0]
    counts = Counter(message.event for message in messages)
    title = ", ".join(f"{counts[event]} {event}" for event in Event if event in counts)
    lines: list[str] = []
    room = _DIGEST
    for message in messages:
        line = f"{message.title}: {message.body.splitlines()[0]}" if message.body else message.title
        line = line if len(line) <= 300 else f"{line[:299]}…"
        room -= len(line) + 1
        if room < 0:
            lines.append(f"… and {len(messages) - len(lines)} more")
            break
        lines.append(line)
    gravest = Event.FAILED if Event.FAILED in counts else max(counts, key=[*Event].index)
    return Message(gravest, title, "\n".join(lines), tuple(key for message in messages for key in message.keys))


class Delivery:
    """Sends to one address. ``window`` is for how many seconds messages are gathered into one; 0 sends each by itself.

    ``taken`` is told what has arrived, ``failed`` why the newest attempt has not; empty once one has. ``first`` is the
    pause after a failure, in seconds, and doubles.
    """

    def __init__(
        self,
        send: Send,
        *,
        window: float,
        taken: Callable[[Message], None],
        failed: Callable[[str], None],
        first: float = 2.0,
    ) -> None:
        self._send, self._window, self._taken, self._failed, self._first = send, window, taken, failed, first
        self._queue: list[Message] = []
        self._stirred, self._closing = asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(self._work())

    def put(self, message: Message) -> None:
        """Let a message be sent."""
        self._queue = [*self._queue, message][-_MOST:]
        self._stirred.set()

    async def close(self, patience: float) -> None:
        """Send what waits, in at most so many seconds, and end."""
        self._closing.set()
        self._stirred.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._task, patience)

    async def _work(self) -> None:
        while not (self._closing.is_set() and not self._queue):
            await self._stirred.wait()
            self._stirred.clear()
            await self._rest(self._window if self._queue else 0)
            failures = 0
            while self._queue and not await self._deliver():
                if self._closing.is_set():
                    return
                failures += 1
                await self._rest(min(_LONGEST_PAUSE, self._first * 2.0 ** min(failures, 30) / 2))
            if self._queue:
                self._stirred.set()

    async def _deliver(self) -> bool:
        """Send once; return whether it was taken."""
        waiting = self._queue
        batch = waiting if self._window or len(waiting) > AT_ONCE else waiting[:1]
        message = digest(batch)
        why = await self._send(message.title, message.body, message.event)
        self._failed(why)
        if not why:
            self._queue = [left for left in self._queue if left not in batch]
            self._taken(message)
        return not why

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)
