"""``reconciler gc``: delete what nothing needs any more."""

from __future__ import annotations

import sys
import time

import click

from reconciler.apply.collect import collect, find_garbage
from reconciler.cli.options import Where, format_option, where_options
from reconciler.cli.say import say
from reconciler.cli.session import Session, open_session, run_async
from reconciler.cli.terminal import Terminal, confirm
from reconciler.errors import UsageError
from reconciler.report.document import to_text
from reconciler.report.garbage import garbage_json, render_collected, render_garbage
from reconciler.spec.scope import is_partial

_DAY = 86_400.0


@click.command()
@where_options
@format_option("text", "json")
@click.option("--auto-approve", is_flag=True, help="Delete without asking; without a terminal, nothing is otherwise.")
@click.option(
    "--older-than",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    metavar="DAYS",
    help="Leave alone what is newer: its job may be about to be created.",
)
def command(where: Where, form: str, auto_approve: bool, older_than: float) -> int:
    """List data files and old checkpoints of ours that nothing needs; delete them once approved.

    A file goes if its name is made of its content, only ended jobs of ours name it, and no spec does. A checkpoint goes
    if a newer revision of its spec has its model; the model at the end of a job always stays, so that going back to an
    older revision costs nothing.
    """
    return run_async(_collect(where, form, auto_approve, older_than))


async def _collect(where: Where, form: str, approved: bool, days: float) -> int:
    async with open_session(where) as session:
        _refuse_partial(session)
        observed = await session.observe()
        heap = await find_garbage(
            session.client,
            session.owner,
            session.repository.desired,
            observed,
            before=(session.client.server_time or time.time()) - days * _DAY,
        )
        terminal = Terminal.of(sys.stdout)
        if form == "text":
            click.echo(render_garbage(heap, color=terminal.color, width=terminal.width), nl=False)
        ends = await collect(session.client, heap) if heap.items and _approved(approved) else None
    if form == "json":
        click.echo(to_text(garbage_json(heap, ends)), nl=False)
    elif ends is not None:
        click.echo(render_collected(ends, color=terminal.color, width=terminal.width), nl=False)
    if heap.items and ends is None:
        say("Nothing was deleted.")
    return 1 if any(end.result == "failed" for end in ends or ()) else 0


def _refuse_partial(session: Session) -> None:
    repository = session.repository
    if repository.empty or is_partial(repository.paths, repository.root):
        raise UsageError(
            "These paths are not all specs, so what the others need cannot be known.",
            hint="Name the whole directory of specs; nothing was deleted.",
        )


def _approved(auto: bool) -> bool:
    return auto or (sys.stdin.isatty() and confirm("Delete all of it?"))
