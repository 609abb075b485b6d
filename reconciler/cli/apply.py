"""``reconciler apply``: make the live jobs what the specs say."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click
from click.core import ParameterSource

from reconciler.apply.follow import View, failures, follow
from reconciler.apply.model import Outcome
from reconciler.apply.permissions import Granted, apply_access
from reconciler.apply.world import World
from reconciler.cli.options import Where, Which, format_option, where_options, which_options
from reconciler.cli.plan import rendered
from reconciler.cli.say import say
from reconciler.cli.session import Session, open_session, run_async
from reconciler.cli.terminal import Terminal, confirm
from reconciler.errors import ReconcilerError, UsageError
from reconciler.loop import Reconciler, run_once
from reconciler.plan.model import Plan
from reconciler.plan.saved import SavedPlan, check, load
from reconciler.report.escape import clean

_LARGEST_PLAN = 64 * 1024 * 1024
_PLANNING = ("environment", "target", "exclude", "recreate", "max_prune", "allow_empty", "take_over")
"""Parameters that a plan is made with."""


@dataclass(frozen=True, slots=True)
class _Run:
    """How to apply."""

    approved: bool
    wait: bool
    form: str
    concurrency: int


@click.command()
@where_options
@which_options
@format_option("text", "json")
@click.option("--auto-approve", is_flag=True, help="Do not ask; required without a terminal.")
@click.option("--wait", is_flag=True, help="Go on until all jobs have ended; chains and retries follow.")
@click.option(
    "--concurrency", type=click.IntRange(1, 64), default=8, show_default=True, help="Changes made at the same time."
)
def command(where: Where, which: Which, form: str, auto_approve: bool, wait: bool, concurrency: int) -> int:
    """Show the plan, ask, and apply it: create, then pause and resume, then cancel.

    PATHS may be the FILE of a saved plan (plan --out): then exactly that plan is applied, or nothing, if what it was
    made from has changed.
    """
    saved = _saved(where.paths)
    if saved:
        _refuse_more(where, saved)
        where = Where(saved.paths, saved.environment, where.server or saved.server, where.owner or saved.owner)
    if not (auto_approve or saved or sys.stdin.isatty()):
        raise UsageError(
            "There is no terminal to ask on.", hint="Pass --auto-approve, or apply a plan saved with plan --out FILE."
        )
    run = _Run(auto_approve or saved is not None, wait, form, concurrency)
    return run_async(_apply(where, which, saved, run))


def _saved(paths: Sequence[str]) -> SavedPlan | None:
    """Recognise a saved plan by its content."""
    if len(paths) != 1 or not (path := Path(paths[0])).is_file():
        return None
    with path.open("rb") as file:
        if not file.read(64).lstrip().startswith(b"{"):
            return None
    try:
        return load(path.read_bytes()[:_LARGEST_PLAN].decode())
    except ValueError:
        return None


def _refuse_more(where: Where, saved: SavedPlan) -> None:
    """Refuse flags that ask for another plan: what they leave out would be bought all the same.

    Raises:
        UsageError: there are some.
    """
    context = click.get_current_context()
    kept = {"environment"} if where.environment == saved.environment else set()
    given = [name for name in _PLANNING if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if more := [f"--{name.replace('_', '-')}" for name in given if name not in kept]:
        raise UsageError(
            f"A saved plan is applied as it was made, and {', '.join(more)} is no part of that.",
            hint="Make another one with it: reconciler plan --out FILE",
        )


async def _apply(where: Where, which: Which, saved: SavedPlan | None, run: _Run) -> int:
    async with open_session(where) as session:
        repository = session.repository
        reconciler = session.reconciler(saved.options if saved else which.to_options(repository))
        view = await reconciler.look()
        which.check(repository, view.plan)
        if saved:
            check(saved, view.plan, repository.desired, repository.config.policy)
        if run.form == "text":
            click.echo(rendered(view.plan, "text"), nl=False)
        elif not run.approved:  # stdout is for the document; nobody is asked about a plan they have not seen
            click.echo(rendered(view.plan, "text", stream=sys.stderr), nl=False, err=True)
        world = session.world(view.observed, run.concurrency)
        with ExitStack() as shown:

            async def approve(_: Plan) -> bool:
                if not (run.approved or confirm("Apply this plan?")):
                    return False
                shown.enter_context(session.progress)  # not before: it would draw over the question
                return True

            if await run_once(reconciler, world, approve, view=view) is None:
                say("Nothing was changed.")
                return 1
            if run.wait and not view.plan.has_changes:
                shown.enter_context(session.progress)
            applied = await finish(session, reconciler, world, view, wait=run.wait)
    code = _report(applied, run)
    if applied.error:
        raise applied.error
    return code


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply came to: the last plan, and all that was done on the way.

    ``problems`` say what has not converged; ``error`` is what ended the waiting: what was done must not be lost.
    """

    plan: Plan
    outcomes: Sequence[Outcome]
    problems: Sequence[str] = ()
    granted: Sequence[Granted] = ()
    error: ReconcilerError | None = None

    def failed(self, *, waited: bool) -> bool:
        """Whether anything was not done, or, where the jobs were waited for, has not converged."""
        undone = not waited and any(o.result != "done" for o in self.outcomes)
        return bool(self.problems) or undone or any(end.result != "done" for end in self.granted)


async def finish(
    session: Session, reconciler: Reconciler, world: World, view: View, *, wait: bool, patience: float | None = None
) -> Applied:
    """Do what comes after the changes of a plan: follow the jobs where asked (``patience`` in seconds), permissions."""
    plan = view.plan
    if wait:
        try:
            async with asyncio.timeout(patience):
                plan = await _follow(session, reconciler, world, view)
        except TimeoutError:
            error = ReconcilerError("The jobs have not ended within the time to wait.", hint=session.afterwards)
            return Applied(plan, world.run.outcomes, error=error)
        except ReconcilerError as error:
            return Applied(plan, world.run.outcomes, error=error)
    granted = await apply_access(session.client, plan.access, revoke=not world.run.failed)
    problems = failures(plan, world.run.outcomes) if wait else []
    return Applied(plan, world.run.outcomes, problems, granted)


async def _follow(session: Session, reconciler: Reconciler, world: World, view: View) -> Plan:
    known = frozenset(view.observed.by_id)
    try:
        plan, _ = await follow(world, reconciler.look, known, session.poll())
    except asyncio.CancelledError:
        session.progress.note(f"Interrupted. {session.afterwards}")
        raise
    return plan


def _merged(plan: Plan, outcomes: Sequence[Outcome]) -> Plan:
    """Return the last plan with everything that was done on the way in place of what is left of it."""
    acted = {o.change.name for o in outcomes}
    rest = [c for c in plan.changes if c.name not in acted]
    changes = [*(o.change for o in outcomes), *rest]
    return Plan.of(plan.owner, plan.server, changes, plan.warnings, access=plan.access)


def _report(applied: Applied, run: _Run) -> int:
    plan, outcomes, granted = _merged(applied.plan, applied.outcomes), applied.outcomes, applied.granted
    if run.form == "json":
        from reconciler.report.document import to_text  # noqa: PLC0415
        from reconciler.report.plan_json import outcomes_json  # noqa: PLC0415

        click.echo(to_text(outcomes_json(plan, outcomes, granted)), nl=False)
    else:
        show(applied)
    for problem in applied.problems:
        say(f"not converged: {clean(problem)}", "error")
    return 1 if applied.failed(waited=run.wait) else 0


def show(applied: Applied) -> None:
    """Print what was done; nothing where nothing was."""
    from reconciler.report.access import render_granted  # noqa: PLC0415
    from reconciler.report.outcomes import render_outcomes  # noqa: PLC0415

    terminal = Terminal.of(sys.stdout)
    click.echo(render_granted(applied.granted, color=terminal.color, width=terminal.width), nl=False)
    if applied.outcomes:
        click.echo(render_outcomes(applied.outcomes, color=terminal.color, width=terminal.width), nl=False)
