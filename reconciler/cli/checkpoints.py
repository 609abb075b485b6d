"""``reconciler checkpoints NAME``: the models along a job's way."""

from __future__ import annotations

import sys

import click

from reconciler.api.types import Checkpoint
from reconciler.cli.lookup import job_of
from reconciler.cli.options import Where, format_option, where_options
from reconciler.cli.session import open_session, run_async
from reconciler.cli.terminal import Terminal
from reconciler.plan.chain import best_checkpoint
from reconciler.report.checkpoints import checkpoints_json, render_checkpoints
from reconciler.report.document import to_text


@click.command()
@click.argument("name")
@where_options
@format_option("text", "json")
def command(name: str, where: Where, form: str) -> None:
    """Show the checkpoints of NAME's job, oldest first, with their metrics. NAME is a spec's, or a job's id."""
    checkpoints = run_async(_checkpoints(name, where))
    if form == "json":
        click.echo(to_text(checkpoints_json(checkpoints)), nl=False)
        return
    terminal = Terminal.of(sys.stdout)
    best = best_checkpoint(checkpoints)
    click.echo(
        render_checkpoints(checkpoints, best=best[0].id if best else None, color=terminal.color, width=terminal.width),
        nl=False,
    )


async def _checkpoints(name: str, where: Where) -> list[Checkpoint]:
    async with open_session(where) as session:
        job = job_of(name, session.repository.desired, await session.observe())
        return await session.client.checkpoints(job.id)
