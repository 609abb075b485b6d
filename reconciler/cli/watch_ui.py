"""The dashboard of ``reconciler watch --ui``: where it is served, to whom, and how it edits specs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from reconciler.cli.edit import edits_of, write
from reconciler.cli.options import Where
from reconciler.cli.secrets import SECRETS
from reconciler.cli.session import Session
from reconciler.errors import SpecError, UsageError
from reconciler.spec.desired import State
from reconciler.spec.load import gather
from reconciler.spec.locate import locate
from reconciler.watch.asking import Asking
from reconciler.watch.engine import Watch
from reconciler.watch.history import History
from reconciler.watch.voice import Voice

if TYPE_CHECKING:
    from reconciler.ui.pages import Pages
    from reconciler.watch.desk import Desk

ADDRESS = "127.0.0.1:8766"
TOKEN_VARIABLE = "RECONCILER_UI_TOKEN"  # noqa: S105 - a variable's name


@asynccontextmanager
async def served(
    listen: str | None, ear: Callable[..., Any], desk: Desk | None, environ: Mapping[str, str]
) -> AsyncIterator[str]:
    """Serve an ear, and a desk's dashboard where there is one, as long as the block lasts; yield where, in words.

    Raises:
        UsageError: the address cannot be used, or a dashboard would be open to everybody.
    """
    from reconciler.watch.ear import address, listening  # noqa: PLC0415 - a web server, for those who want one

    host, port = address(listen or ADDRESS)
    if desk is None:
        async with listening(ear, host, port) as url:
            yield f"Listening on {url}."
        return
    pages = _pages(desk, host, environ.get(TOKEN_VARIABLE) or None)
    async with listening(pages.beside(ear), host, port) as url:
        try:
            yield f"Dashboard: {url}/ui/"
        finally:
            pages.close()


def _pages(desk: Desk, host: str, token: str | None) -> Pages:
    from reconciler.api.loopback import is_loopback  # noqa: PLC0415
    from reconciler.ui.access import Access  # noqa: PLC0415
    from reconciler.ui.pages import Pages  # noqa: PLC0415

    loopback = is_loopback(host)
    if token is None and not loopback:
        raise UsageError(
            f"Without a token, a dashboard on {host} would let everybody start and stop runs.",
            hint=f"Set {TOKEN_VARIABLE}, or listen on 127.0.0.1.",
        )
    SECRETS.add([token or ""])
    return Pages(desk, Access(token, loopback=loopback), desk)


def desk_of(session: Session, where: Where, watch: Watch, asking: Asking, history: History, fixed: str) -> Desk:
    """Return what the dashboard shows; ``fixed`` is why it does not edit specs, empty where it does."""
    from reconciler.watch.desk import Desk  # noqa: PLC0415

    title = f"{session.owner} on {session.server}"
    return Desk(title, watch, asking, history, session.client, rewrite=rewriter(where), fixed=fixed)


def elsewhere(voice: Voice, question: str) -> None:
    """Ask where there is no terminal, but a dashboard."""
    voice.say(f"{question} Answer on the dashboard.", event="approval")


def rewriter(where: Where) -> Callable[[str, State, bool], str]:
    """Return what sets the state of a spec, as ``pause``, ``resume`` and ``cancel`` do."""

    def rewrite(name: str, state: State, really: bool) -> str:
        found = gather(where.paths, environment=where.environment)
        if found.specs.problems:
            raise SpecError(found.specs.problems)
        edits = edits_of(locate([name], found.specs.drafts, state), state)
        if really:
            write(edits)
        return "".join(edit.diff for edit in edits.values())

    return rewrite
