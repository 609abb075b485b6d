"""Tells people who are elsewhere what happens: hears each look, and hands on what is new of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Sequence

from reconciler.report.escape import clean
from reconciler.spec.notifications import Event
from reconciler.watch.addresses import Address
from reconciler.watch.delivery import Delivery, Message
from reconciler.watch.engine import Seen
from reconciler.watch.notifications import Thing, things, together
from reconciler.watch.told import Told
from reconciler.watch.voice import Voice, some

_LONGEST = 800
"""Characters of a reason."""
_CALLING = re.compile(r"(?<=@)(?=\w)|(?<=<)(?=[@!#])")
"""Where a chat would call people: a zero-width space makes text of it."""
_PATIENCE = 10.0
"""Seconds for what waits, once the watch has ended."""


class Notifier:
    """Sends to every address, each in its own time, so that nothing waits for them.

    ``hide`` takes secrets out of text. ``window`` gathers messages for so many seconds into one; 0 does not.
    """

    def __init__(
        self,
        places: Sequence[Address],
        told: Told,
        voice: Voice,
        *,
        about: tuple[str, str],
        events: Collection[Event],
        window: float = 0.0,
        hide: Callable[[str], str] = str,
        first: float = 2.0,
    ) -> None:
        self._told, self._voice, self._about, self._events, self._hide = told, voice, about, events, hide
        self._failing: set[str] = set()

        def delivery(place: Address) -> Delivery:
            def failed(why: str) -> None:
                self._say(place.name, why)

            return Delivery(place.send, window=window, taken=self._taken, failed=failed, first=first)

        self._deliveries = [delivery(place) for place in places]

    def hear(self, seen: Seen) -> None:
        """Hand on what is new in a look; nothing is waited for."""
        fresh = self._told.news(things(seen))
        self._told.tell(thing.key for thing in fresh if thing.event not in self._events)
        for group in together(thing for thing in fresh if thing.event in self._events):
            title, body = seen.snapshot.repository.config.notifications.words(group[0].event, self._fields(group))
            message = Message(group[0].event, title, body, tuple(t.key for t in group))
            for delivery in self._deliveries:
                delivery.put(message)

    async def close(self) -> None:
        """Send what waits, without waiting long."""
        await asyncio.gather(*(delivery.close(_PATIENCE) for delivery in self._deliveries))

    def _taken(self, message: Message) -> None:
        self._told.tell(message.keys)

    def _say(self, name: str, why: str) -> None:
        """Say once that an address takes nothing; its reasons may differ from one time to the next."""
        if bool(why) == (name in self._failing):
            return
        self._failing ^= {name}
        if why:
            words = f"Notifications do not arrive ({name}): {clean(why, 200)} They are sent again until they do."
            self._voice.say(words, "warning", event="notify")
        else:
            self._voice.say(f"Notifications arrive again ({name}).", event="notify")

    def _fields(self, group: Sequence[Thing]) -> dict[str, str]:
        """Return what templates name, of foreign text only what is text."""
        one = group[0]
        alone = len(group) == 1
        reason = one.reason if alone else "; ".join(f"{thing.spec}: {thing.reason}" for thing in group)
        owner, server = self._about
        fields = {
            "event": str(one.event),
            "spec": some(thing.spec for thing in group),
            "job": one.job,
            "model": one.model if alone else some(thing.model for thing in group),
            "reason": reason,
            "owner": owner,
            "server": server,
        }
        return {name: _CALLING.sub("\u200b", clean(self._hide(text), _LONGEST)) for name, text in fields.items()}
