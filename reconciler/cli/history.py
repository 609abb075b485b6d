"""``reconciler history NAME``: every revision and attempt of a spec."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from reconciler.cli.lookup import require_known
from reconciler.cli.options import Where, format_option, where_options
from reconciler.cli.output import write_atomic
from reconciler.cli.session import open_session, run_async
from reconciler.cli.terminal import Terminal
from reconciler.history.attempts import Attempt, jobs_of, read_attempts
from reconciler.history.commits import read_past
from reconciler.report.document import to_text
from reconciler.report.history import history_json, render_history


@click.command()
@click.argument("name")
@where_options
@format_option("text", "json")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write a page with the losses of all attempts; it asks no other host for anything.",
)
def command(name: str, where: Where, form: str, html: Path | None) -> None:
    """Show every job of NAME's spec, newest first: its commit, data, settings, tokens, losses and model.

    Commits are found by revision, among those of all branches and tags that touch the specs, the settings or the data.
    """
    attempts, notes = run_async(_history(name, where))
    if html:
        from reconciler.report.history_html import history_html  # noqa: PLC0415

        write_atomic(html, history_html(name, attempts, notes))
    if form == "json":
        click.echo(to_text(history_json(name, attempts, notes)), nl=False)
    else:
        terminal = Terminal.of(sys.stdout)
        click.echo(render_history(name, attempts, notes, color=terminal.color, width=terminal.width), nl=False)


async def _history(name: str, where: Where) -> tuple[list[Attempt], Sequence[str]]:
    async with open_session(where) as session:
        repository, observed = session.repository, await session.observe()
        require_known(name, repository.desired, observed)
        past = read_past(repository.root, where.paths, where.environment, repository.desired, session.cache)
        jobs = jobs_of(name, repository.desired, observed)
        return await read_attempts(session.client, jobs, past, session.cache), past.notes
