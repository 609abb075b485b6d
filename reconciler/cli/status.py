"""``reconciler status``: where each job stands."""

from __future__ import annotations

import sys
import time

import click

from reconciler.cli.lookup import status_rows
from reconciler.cli.options import Where, format_option, where_options
from reconciler.cli.say import warn
from reconciler.cli.session import open_session, run_async
from reconciler.cli.terminal import Terminal
from reconciler.plan.planner import warnings
from reconciler.report.document import to_text
from reconciler.report.escape import clean
from reconciler.report.status import StatusRow, render_status, status_json


@click.command()
@where_options
@format_option("text", "json")
def command(where: Where, form: str) -> None:
    """Show every spec with its job, its status and its model."""
    rows = run_async(_rows(where))
    if form == "json":
        click.echo(to_text(status_json(rows)), nl=False)
        return
    terminal = Terminal.of(sys.stdout)
    click.echo(render_status(rows, now=time.time(), color=terminal.color, width=terminal.width), nl=False)


async def _rows(where: Where) -> list[StatusRow]:
    async with open_session(where) as session:
        observed = await session.observe()
        for warning in warnings(observed):
            warn(clean(warning))
        return status_rows(session.repository.desired, observed)
