"""``reconciler drift``: what was changed outside the specs."""

from __future__ import annotations

import sys
import time

import click

from reconciler.cli.options import Where, format_option, where_options
from reconciler.cli.session import Session, open_session, run_async
from reconciler.cli.terminal import Terminal
from reconciler.observe.state import Observed
from reconciler.plan.drift import Drift, find_drift
from reconciler.report.document import to_text
from reconciler.report.drift import drift_json, render_drift

DRIFTED = 3


@click.command()
@where_options
@format_option("text", "json")
def command(where: Where, form: str) -> int:
    """Show live jobs that differ although no spec changed: paused, resumed, cancelled or doubled by somebody else.

    Changes nothing. Exits with 3 where there is drift. New specs and new revisions are no drift: see plan.
    """
    drift = run_async(_drift(where))
    if form == "json":
        click.echo(to_text(drift_json(drift)), nl=False)
    else:
        terminal = Terminal.of(sys.stdout)
        click.echo(render_drift(drift, color=terminal.color, width=terminal.width), nl=False)
    return DRIFTED if drift else 0


async def _drift(where: Where) -> tuple[Drift, ...]:
    async with open_session(where) as session:
        return drift_in(session, await session.observe())


def drift_in(session: Session, observed: Observed) -> tuple[Drift, ...]:
    """Return what differs although no spec changed."""
    return find_drift(session.repository.desired, observed, time.time())
