"""News of a watch for people who do not look at it: what ended, what is blocked, what drifted, what waits for them.

The voice says each thing once, so a message is sent once. What comes within a moment, or within the time of a digest,
is one message. Whatever goes wrong on the way holds nothing up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from string import Template
from typing import Any

from reconciler.errors import MissingExtra, UsageError

log = logging.getLogger(__name__)

URLS_VARIABLE = "RECONCILER_NOTIFY"
TEMPLATE_VARIABLE = "RECONCILER_NOTIFY_TEMPLATE"
KINDS = ("succeeded", "failed", "cancelled", "blocked", "drift", "approval", "limits", "server")
_MOMENT = 2.0
_TRIES = 4
_MOST_LINES = 50

Send = Callable[[str, str], Awaitable[bool]]
"""Sends a title and a text; returns whether they were taken."""


def kind_of(fields: Mapping[str, Any]) -> str:
    """Return which kind of news a line is; empty where it is none."""
    event, outcome = str(fields.get("event", "")), str(fields.get("outcome", ""))
    kind = outcome if event == "job" else event
    return kind if kind in KINDS else ""


class Notifier:
    """Hears the lines of a voice, and passes news on. ``digest`` is how many seconds one message covers."""

    def __init__(
        self,
        send: Send,
        title: str,
        *,
        kinds: Collection[str] = KINDS,
        digest: float = _MOMENT,
        template: str = "$message",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._send, self._title, self._kinds = send, title, kinds
        self._digest, self._sleep = max(digest, _MOMENT), sleep
        self._template = Template(template)
        self._news: list[str] = []
        self._any = asyncio.Event()

    def hear(self, message: str, level: str, fields: Mapping[str, Any]) -> None:
        """Take a line, if it is news that is wanted."""
        kind = kind_of(fields)
        if kind and kind in self._kinds:
            values = {"spec": "", "job": "", "reason": "", **fields, "message": message, "level": level, "kind": kind}
            self._news.append(self._template.safe_substitute(values))
            self._any.set()

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await self._any.wait()
            await self._sleep(self._digest)
            await self.flush()

    async def flush(self) -> None:
        """Send what there is; what nobody takes after some tries is given up, and logged."""
        news, self._news = self._news, []
        self._any.clear()
        if not news:
            return
        more = len(news) - _MOST_LINES
        lines = news[:_MOST_LINES] + ([f"... and {more} more"] if more > 0 else [])
        for number in range(_TRIES):
            if await self._send(self._title, "\n".join(lines)):
                return
            if number + 1 < _TRIES:
                await self._sleep(_MOMENT * 4.0**number)
        log.warning("%d lines of news were not taken by those who should have them.", len(news))


def apprise(urls: str) -> Send:
    """Return what sends to the addresses of a text, with spaces between them.

    Raises:
        MissingExtra: Apprise is not installed.
        UsageError: an address is none that Apprise knows. It is not repeated, since it holds a secret.
    """
    try:
        from apprise import Apprise  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtra("Apprise, which sends notifications,", "notify") from error
    client = Apprise()
    for number, url in enumerate(urls.split(), 1):
        if not client.add(url):
            raise UsageError(
                f"Address {number} of {URLS_VARIABLE} is none that Apprise knows.",
                hint="See https://github.com/caronc/apprise for how addresses are written.",
            )

    async def send(title: str, text: str) -> bool:
        try:
            return bool(await asyncio.to_thread(client.notify, title=title, body=text))
        except (OSError, TypeError, ValueError) as error:
            log.warning("News could not be sent: %s", type(error).__name__)
            return False

    return send
