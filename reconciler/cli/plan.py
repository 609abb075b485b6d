"""``reconciler plan``: what apply would do, and why."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TextIO

import click

from reconciler.apply.follow import View
from reconciler.cli.options import Where, Which, format_option, where_options, which_options
from reconciler.cli.output import write_atomic
from reconciler.cli.session import Session, open_session, run_async
from reconciler.cli.terminal import Terminal
from reconciler.loop import refuse_unsafe
from reconciler.plan.model import Plan
from reconciler.plan.saved import save

CHANGES = 2


@click.command()
@where_options
@which_options
@format_option("text", "json", "markdown")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Save the plan, for apply to take.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 where there are changes.")
@click.option("-v", "--verbose", is_flag=True, help="List converged jobs too.")
def command(where: Where, which: Which, form: str, out: Path | None, detailed_exitcode: bool, verbose: bool) -> int:
    """Show what apply would create, cancel, pause and resume, and why. Changes nothing."""
    plan = run_async(_plan(where, which, out))
    click.echo(rendered(plan, form, verbose=verbose), nl=False)
    refuse_unsafe(plan)
    return CHANGES if detailed_exitcode and plan.has_changes else 0


async def _plan(where: Where, which: Which, out: Path | None) -> Plan:
    async with open_session(where) as session:
        return (await planned(session, where, which, out)).plan


async def planned(session: Session, where: Where, which: Which, out: Path | None) -> View:
    """Look and plan; ``out`` is the file to save the plan to.

    Raises:
        UsageError: the command line names what does not exist.
    """
    repository = session.repository
    options = which.to_options(repository)
    view = await session.reconciler(options).look()
    which.check(repository, view.plan)
    if out:
        text = save(
            view.plan,
            where.paths,
            where.environment,
            options,
            repository.desired,
            repository.config.policy,
            server=where.server,
            owner=where.owner,
        )
        write_atomic(out, text)
    return view


def rendered(plan: Plan, form: str, *, verbose: bool = False, stream: TextIO | None = None) -> str:
    """Return a plan as text (for ``stream``, by default stdout), JSON or markdown; what is not needed is not loaded."""
    if form == "json":
        from reconciler.report.document import to_text  # noqa: PLC0415
        from reconciler.report.plan_json import plan_json  # noqa: PLC0415

        return to_text(plan_json(plan))
    if form == "markdown":
        from reconciler.report.plan_markdown import plan_markdown  # noqa: PLC0415

        return plan_markdown(plan)
    from reconciler.report.plan_text import render_plan  # noqa: PLC0415

    terminal = Terminal.of(stream or sys.stdout)
    return render_plan(plan, color=terminal.color, width=terminal.width, verbose=verbose)
