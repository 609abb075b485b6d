"""What a watch is told of notifications: where they go, of what, and how many at a time."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import click

from reconciler.cli.secrets import SECRETS
from reconciler.cli.session import Session
from reconciler.errors import UsageError
from reconciler.spec.notifications import Event
from reconciler.watch.engine import Seen
from reconciler.watch.voice import Voice

VARIABLE = "RECONCILER_NOTIFY"
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_LONGEST = 86_400
F = TypeVar("F", bound=Callable[..., object])


def _events(_: click.Context, __: click.Parameter, text: str | None) -> tuple[Event, ...] | None:
    if text is None:
        return None
    words = text.replace(" ", "").split(",")
    if unknown := [word for word in words if word not in set(Event)]:
        raise click.BadParameter(f"{unknown[0]!r} is none; there are {', '.join(Event)}.")
    return tuple(map(Event, words))


def _window(_: click.Context, __: click.Parameter, text: str | None) -> float:
    if text is None:
        return 0.0
    found = re.fullmatch(r"(\d{1,6})([smh])", text, re.ASCII)
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if not 0 < seconds <= _LONGEST:
        raise click.BadParameter("must be a time of at most a day, such as 30s, 15m or 1h.")
    return float(seconds)


def notify_options(command: F) -> F:
    """Add --notify and --notify-digest."""
    notify = click.option(
        "--notify",
        metavar="EVENT,...",
        callback=_events,
        help=f"Notify {VARIABLE}'s URLs of these only: {', '.join(Event)}.",
    )
    digest = click.option(
        "--notify-digest",
        metavar="TIME",
        callback=_window,
        help="Gather notifications for so long (30s, 15m, 1h) into one message.",
    )
    return notify(digest(command))


@asynccontextmanager
async def notifying(
    events: tuple[Event, ...] | None, window: float, session: Session, voice: Voice
) -> AsyncIterator[Callable[[Seen], None]]:
    """Yield what hears looks and tells people; nothing where no address is set. At the end what waits is sent.

    Raises:
        ReconcilerError: an address is wrong, or asked for and missing; what sends is not installed.
    """
    urls = os.environ.get(VARIABLE, "").strip()
    if not urls:
        if events or window:
            raise UsageError(
                f"{VARIABLE} is not set, so nobody can be notified.",
                hint="Set it to URLs as apprise writes them, or to desktop.",
            )
        yield lambda _: None
        return
    from reconciler.watch.addresses import addresses, secrets_in  # noqa: PLC0415 - for those who want notifications
    from reconciler.watch.notifier import Notifier  # noqa: PLC0415
    from reconciler.watch.told import Told  # noqa: PLC0415

    SECRETS.add(secrets_in(urls))
    notifier = Notifier(
        addresses(urls, VARIABLE),
        Told(session.cache, f"told {session.owner} {session.server}"),
        voice,
        about=(session.owner, session.server),
        events=events or tuple(Event),
        window=window,
        hide=SECRETS.redact,
    )
    try:
        yield notifier.hear
    finally:
        await notifier.close()
