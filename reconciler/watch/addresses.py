"""Where notifications go: apprise's URLs, which are secrets, and the word ``desktop`` for the screen at hand."""

from __future__ import annotations

import asyncio
import html
import logging
import re
import shutil
import sys
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from reconciler.api.secret import SHORTEST
from reconciler.errors import MissingExtra, UsageError
from reconciler.spec.notifications import Event
from reconciler.watch.delivery import Send

if TYPE_CHECKING:
    from apprise import AppriseAsset

DESKTOP = "desktop"
_WORD = re.compile(rf"(?<![^\s,;]){DESKTOP}(?![^\s,;])", re.IGNORECASE)
_SCREENS = {"darwin": ["macosx://"], "win32": ["windows://"]}
_TIMEOUT = 20.0
"""Seconds for one message to one address."""
_KINDS = {Event.SUCCEEDED: "success", Event.FAILED: "failure", Event.APPROVAL: "info"}
_LEAST = 8
_PIECE = re.compile(r"[\w.~+%-]+")
_LOGGERS = ("apprise", "requests", "urllib3")


@dataclass(frozen=True)
class Address:
    """A place that messages are sent to; ``name`` says which, without its URL."""

    name: str
    send: Send


def secrets_in(text: str) -> Iterator[str]:
    """Yield what of these URLs nobody may see: each as it is, and its pieces that look like keys.

    A key may stand anywhere in such a URL, even in a host's place. A piece of 8 characters with a digit is taken for
    one, and any of 16, but for a host's name.
    """
    for url in (text, *text.split()):
        if len(url) >= SHORTEST:
            yield url
        authority = re.split("[/?#]", url.partition("://")[2] or url, maxsplit=1)[0]
        user, _, host = authority.rpartition("@")
        password = user.partition(":")[2]
        for piece in (password, *_PIECE.findall(url)):
            keylike = len(piece) >= SHORTEST or any(c.isdigit() for c in piece) or piece == password
            if len(piece) >= _LEAST and keylike and not (piece in host and "." in piece):
                yield from {piece, unquote(piece)}


def addresses(text: str, variable: str) -> list[Address]:
    """Read the URLs, which white space or commas part; ``variable`` is where they stand.

    Raises:
        UsageError: one of them is none, or no desktop is there. No URL is in its words.
        MissingExtra: apprise is not installed.
    """
    try:
        from apprise import AppriseAsset, PersistentStoreMode  # noqa: PLC0415 - an extra
        from apprise.utils.parse import parse_urls  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra("What sends notifications", "notify") from error
    for name in _LOGGERS:  # they name hosts, paths and keys; what people need of it is said by us
        logging.getLogger(name).propagate = False
        logging.getLogger(name).addHandler(logging.NullHandler())
    asset = AppriseAsset(app_id="reconciler", storage_mode=PersistentStoreMode.MEMORY, service_timeout=_TIMEOUT)
    urls = parse_urls(_WORD.sub(" ", text))  # type: ignore[no-untyped-call]
    found = []
    for number, url in enumerate(urls, 1):
        made = _address(url, f"URL {number} of {len(urls)}", asset)
        if made is None:
            raise UsageError(
                f"{variable}: URL {number} of {len(urls)} is none that apprise can send to.",
                hint="See https://appriseit.com/services for how they look.",
            )
        found.append(made)
    if _WORD.search(text):
        found.append(_screen(asset, variable))
    return found


def _address(url: str, name: str, asset: AppriseAsset) -> Address | None:
    from apprise import Apprise, NotifyFormat, NotifyType, OverflowMode  # noqa: PLC0415

    box = Apprise(asset=asset)
    if not box.add([url]):
        return None
    service = box[0]
    if service.overflow_mode is OverflowMode.UPSTREAM:
        service.overflow_mode = OverflowMode.TRUNCATE  # what is too long would be refused for ever

    async def send(title: str, body: str, event: Event) -> str:
        kind = NotifyType(_KINDS.get(event, "warning"))
        try:
            result = await box.async_notify(body, title=title, notify_type=kind, body_format=NotifyFormat.TEXT)
        except Exception as error:  # noqa: BLE001 - a hundred services, each with code of its own
            return type(error).__name__
        reasons = [entry.message for entry in result.logs() if entry.level in ("WARNING", "ERROR")]
        return "" if result else (reasons or ["It was not taken."])[-1]

    return Address(f"{name}, {service.service_name}", send)


def _screen(asset: AppriseAsset, variable: str) -> Address:
    """Return the desktop: what apprise finds there, or notify-send, which most of Linux has and needs no package."""
    for url in _SCREENS.get(sys.platform, ["dbus://", "glib://"]):
        if made := _address(url, DESKTOP, asset):
            return made
    program = shutil.which("notify-send")
    if program is None:
        needs = {"darwin": "terminal-notifier", "win32": "pip install pywin32"}.get(sys.platform, "notify-send")
        raise UsageError(
            f"{variable}: {DESKTOP} cannot be notified here.", hint=f"Install {needs}, or take {DESKTOP} out."
        )

    async def send(title: str, body: str, event: Event) -> str:
        urgency = "critical" if event is Event.FAILED else "normal"
        words = (title, html.escape(body, quote=False))  # a body may hold markup, a title may not
        arguments = ["--app-name", "reconciler", "--urgency", urgency, "--", *words]
        process = await asyncio.create_subprocess_exec(program, *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        try:
            _, said = await asyncio.wait_for(process.communicate(), _TIMEOUT)
        except TimeoutError:
            process.kill()
            return "notify-send does not end."
        return said.decode(errors="replace") if process.returncode else ""

    return Address(DESKTOP, send)
