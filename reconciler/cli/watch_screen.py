"""Whether ``reconciler watch`` shows its dashboard, and what that works with. Textual is loaded only then."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec

from reconciler.cli.attended import at_a_terminal
from reconciler.cli.options import Where
from reconciler.cli.say import logged
from reconciler.cli.session import LOCAL, Session
from reconciler.cli.watch_ui import rewriter
from reconciler.errors import MissingExtra, ReconcilerError, UsageError
from reconciler.watch.asking import Asking
from reconciler.watch.engine import Watch
from reconciler.watch.history import History

_HINT = "For a live table of all this: pip install 'finetune-reconciler[dashboard]'"
_BEAT, _LOCAL_BEAT = 5.0, 1.0
"""Seconds between two readings of events; the embedded server is near, and its jobs are short."""


def wanted(asked: bool | None) -> bool:
    """Whether to show it: where it was asked for, else at a terminal where it can be shown.

    Raises:
        UsageError: it was asked for, and cannot be shown.
        MissingExtra: it was asked for, and is not installed.
    """
    if asked is False:
        return False
    lacking = _lacking()
    if asked and lacking:
        raise UsageError(f"The dashboard cannot be shown: {lacking}.", hint="Without --dashboard there are lines.")
    if asked and not _installed():
        raise MissingExtra("Textual", "dashboard")
    return not lacking and _installed()


def hint(asked: bool | None) -> str:
    """Say how to get it, where that is all that is missing."""
    return _HINT if asked is None and not _lacking() and not _installed() else ""


def _installed() -> bool:
    return find_spec("textual") is not None


def _lacking() -> str:
    """Say what the surroundings lack."""
    if not (sys.stdout.isatty() and at_a_terminal()):
        return "this is no terminal"
    if os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        return "TERM names a terminal whose cursor does not move"
    if logged():
        return "the log goes to the terminal (--verbose, --debug, --log-format json)"
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return "" if encoding == "utf8" else "the terminal is not set to UTF-8"


@asynccontextmanager
async def on_screen(
    session: Session, where: Where, watch: Watch, asking: Asking, history: History, end: Callable[[], None], fixed: str
) -> AsyncIterator[None]:
    """Show the dashboard while a watch runs; what ends one ends the other. ``fixed`` is why no spec can be edited."""
    from reconciler.tui.app import Dashboard, Desk  # noqa: PLC0415 - loads Textual

    desk = Desk(
        session.owner,
        session.server,
        session.client,
        rewrite=rewriter(where),
        end=end,
        fixed=fixed,
        beat=_LOCAL_BEAT if session.server == LOCAL else _BEAT,
    )
    colour = os.environ.get("NO_COLOR")
    app = Dashboard(watch, asking, history, desk)
    if colour is not None:
        os.environ["NO_COLOR"] = colour  # Textual takes it away; what is printed afterwards honours it, too
    loop = asyncio.get_running_loop()
    factory = loop.get_task_factory()
    showing = asyncio.create_task(app.run_async())
    await asyncio.sleep(0)
    loop.set_task_factory(factory)  # Textual starts every task at once, also those that are not its own
    showing.add_done_callback(lambda _: watch.stop())
    try:
        yield
    finally:
        app.exit()
        await showing
    if app.return_code:
        raise ReconcilerError("The dashboard failed, and the watch ended with it.", hint="Use --no-dashboard.")
