"""``reconciler trace MODEL``: from a model in use back to the spec, the commit and the data it was made from."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from reconciler.cli.options import Where, format_option, where_options
from reconciler.cli.session import open_session, run_async
from reconciler.cli.terminal import Terminal
from reconciler.errors import UsageError
from reconciler.history.commits import read_past
from reconciler.history.lineage import Generation, trace
from reconciler.report.document import to_text
from reconciler.report.lineage import lineage_json, render_lineage


@click.command()
@click.argument("model")
@where_options
@format_option("text", "json")
def command(model: str, where: Where, form: str) -> None:
    """Show which job made MODEL, a checkpoint too, and the spec, revision, commit and data it was made from.

    Where that job started from another fine-tuned model, that one follows, and so on back to a base model.
    """
    line, notes = run_async(_trace(model, where))
    if form == "json":
        click.echo(to_text(lineage_json(line, notes)), nl=False)
    else:
        terminal = Terminal.of(sys.stdout)
        click.echo(render_lineage(line, notes, color=terminal.color, width=terminal.width), nl=False)


async def _trace(model: str, where: Where) -> tuple[list[Generation], Sequence[str]]:
    async with open_session(where) as session:
        repository = session.repository
        past = read_past(repository.root, where.paths, where.environment, repository.desired, session.cache)
        line = await trace(session.client, model, await session.observe(), past, session.cache)
        if not line:
            raise UsageError(
                f"No job that this key can see on {session.server} made {model[:256]!r}.",
                hint="Names of models are case-sensitive, and one project's key does not see another's jobs.",
            )
        return line, past.notes
