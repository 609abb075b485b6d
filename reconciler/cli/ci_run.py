"""What ``reconciler ci`` does: run, tell reviewers, and never fail a run for what its reviewers could not be told."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from reconciler.apply.model import Outcome
from reconciler.ci.annotations import SETTINGS_CHANGE
from reconciler.ci.base import checkout, read_base
from reconciler.ci.finished import Finished, Trained
from reconciler.ci.surroundings import Command, Surroundings
from reconciler.cli.apply import Applied, finish, show
from reconciler.cli.ci_guard import refuse_stale, refuse_unreviewed
from reconciler.cli.ci_lock import check_lock, keep_produced
from reconciler.cli.ci_model import Run, Settings
from reconciler.cli.ci_tell import hide, tell
from reconciler.cli.drift import DRIFTED, drift_in
from reconciler.cli.options import Where, Which
from reconciler.cli.output import write_atomic
from reconciler.cli.outputs import models_of
from reconciler.cli.plan import planned, rendered
from reconciler.cli.say import say
from reconciler.cli.secrets import SECRETS
from reconciler.cli.session import STATE, Session, load_specs, open_session, owner_of, run_async
from reconciler.cli.terminal import Terminal
from reconciler.errors import MissingKey, NotAuthenticated, ReconcilerError, UsageError
from reconciler.history.compare import compare
from reconciler.history.git import GitFailed
from reconciler.history.losses import Losses, read_losses
from reconciler.loop import refuse_unsafe, run_once
from reconciler.observe.state import Observed
from reconciler.plan.cost import priced
from reconciler.plan.limits import budget_limit
from reconciler.plan.model import Plan
from reconciler.plan.planner import bind
from reconciler.report.document import to_text
from reconciler.report.drift import render_drift
from reconciler.report.escape import clean
from reconciler.report.fault import render_error
from reconciler.report.plan_json import plan_json

_CONCURRENCY = 8


def carry_out(where: Where, which: Which, settings: Settings, around: Surroundings, command: Command) -> int:
    """Run a command and tell reviewers.

    Returns:
        The exit code, which no refusal of GitHub's changes.
    """
    hide(around.token)
    run = Run(where, which, settings, around, Finished(command=command, owner="", environment=where.environment))
    with _quiet(run):
        try:
            check_lock(run)
            if settings.base and command == "apply":
                raise UsageError("--base is for what is not merged yet; an apply goes by its own settings.")
            if around.proposed or settings.base:
                run.judge(read_base(where.start, where.environment, around, settings.base))
            if run.finished.settings:
                say(SETTINGS_CHANGE, "warning")
            _own(run)
            run.code = _COMMANDS[command](run)
        except ReconcilerError as error:
            run.found(error=error)
            terminal = Terminal.of(sys.stderr)
            text = render_error(error, color=terminal.color, width=terminal.width)
            say(str(error), "error", text=SECRETS.redact(text.rstrip("\n")))
            run.code = error.exit_code
        if settings.fail_on_blocked and run.finished.blocked:
            run.code = run.code or 1
    tell(run)
    return run.code


def _own(run: Run) -> None:
    """Find out whose jobs these are; where a pull request's own settings are at fault, its base's say where to tell."""
    fault = run.base.fault if run.base else None
    try:
        run.found(owner=owner_of(run.where))
    except ReconcilerError:
        if fault is None:
            raise
    if fault:
        raise fault


@contextmanager
def _quiet(run: Run) -> Iterator[None]:
    """Let the runner take nothing that is printed for a command to it, until we ourselves have some.

    After a fault of the program the runner stays deaf: its message is printed later, and there is nothing to annotate.
    """
    if not run.around.runner:
        yield
        return
    run.word = secrets.token_hex(16)
    click.echo(f"::stop-commands::{run.word}")
    sys.stdout.flush()
    yield
    sys.stderr.flush()
    click.echo(f"::{run.word}::")


def _mask(run: Run, key: str | None) -> None:
    """Have the runner show a key nowhere in the job's log, whatever later steps print."""
    hide(key)
    if key and run.word:
        sys.stderr.flush()
        click.echo(f"::{run.word}::\n::add-mask::{key.replace('%', '%25')}\n::stop-commands::{run.word}")


def _validate(run: Run) -> int:
    with load_specs(run.where) as (repository, _):
        run.root = repository.root
        run.found(desired=repository.desired, warnings=repository.warnings)
    count = len(run.finished.desired)
    click.echo(f"{count} {'job is' if count == 1 else 'jobs are'} valid.")
    return 0


def _plan(run: Run) -> int:
    if not run.finished.offline:
        try:
            run_async(_planned(run))
        except (MissingKey, NotAuthenticated) as error:
            if run.base is None or run.keyed:
                raise
            run.found(offline=error.message)
    if run.finished.offline:
        _compared(run)
    plan = run.finished.plan
    assert plan is not None  # noqa: S101 - for mypy: planning ends with a plan or an error
    click.echo(rendered(plan, "text"), nl=False)
    refuse_unsafe(plan)
    return 0


async def _planned(run: Run) -> None:
    async with open_session(run.where) as session:
        _enter(run, session)
        saved = _out_dir(run) / "saved.plan"
        view = await planned(session, run.where, run.which, saved)
        run.plan_file = saved
        run.found(plan=view.plan, models=models_of(session, view.observed))
    _save_json(run)


def _compared(run: Run) -> None:
    """Do what needs no server: say what a pull request changes against its base."""
    base = run.base
    assert base is not None  # noqa: S101 - for mypy: only pull requests are planned without a server
    say(f"No server is asked: {clean(run.finished.offline)}", "warning")
    with load_specs(run.where) as (repository, _):
        run.found(desired=repository.desired, warnings=repository.warnings)
    paths, environment, specs = run.where.paths, run.where.environment, repository.desired
    run.root = root = repository.root
    try:
        with checkout(root, run.around) as git:
            changes = compare(git, root, paths, environment, base.commit, specs)
    except (GitFailed, OSError) as error:
        raise ReconcilerError(f"The base of this pull request cannot be read: {error}.") from error
    selects = run.which.to_options(repository).selects
    changes = [change for change in changes if selects(change.name)]
    policy, named = repository.config.policy, {spec.name: spec for spec in specs}
    beyond = budget_limit(changes, named, policy.budget)
    plan = Plan.of(run.finished.owner, "", priced(changes, named, policy.prices), beyond)
    run.found(plan=replace(plan, compared=True))


def _apply(run: Run) -> int:
    refuse_stale(run)
    applied = run_async(_applied(run))
    show(applied)
    for problem in applied.problems:
        say(f"not converged: {clean(problem)}", "error")
    if applied.error:
        raise applied.error
    return 1 if applied.failed(waited=run.settings.wait) else 0


async def _applied(run: Run) -> Applied:
    minutes = run.settings.wait_timeout
    async with open_session(run.where) as session:
        _enter(run, session)
        reconciler = session.reconciler(run.which.to_options(session.repository))
        view = await reconciler.look()
        run.found(plan=view.plan)
        run.which.check(session.repository, view.plan)
        click.echo(rendered(view.plan, "text"), nl=False)
        _save_json(run)
        refuse_unreviewed(run, view.plan)
        world = session.world(view.observed, _CONCURRENCY)

        async def approve(_: Plan) -> bool:
            return True

        with session.progress:
            try:
                await run_once(reconciler, world, approve, view=view)
            finally:
                run.found(outcomes=tuple(world.run.outcomes))
            applied = await finish(
                session, reconciler, world, view, wait=run.settings.wait, patience=minutes and minutes * 60
            )
        outcomes: tuple[Outcome, ...] = tuple(applied.outcomes)
        run.found(outcomes=outcomes, granted=tuple(applied.granted), problems=tuple(applied.problems))
        if applied.error is None:
            observed = await session.observe() if outcomes or run.settings.wait else view.observed
            run.found(models=models_of(session, observed))
            keep_produced(run, session, observed)
            await _measure(run, session, view.observed, observed)
        return applied


async def _measure(run: Run, session: Session, before: Observed, after: Observed) -> None:
    """Read how the losses went of the jobs that this run has made or waited for; without them it is no less done."""
    ours = {outcome.job_id for outcome in run.finished.outcomes}
    if run.settings.wait:
        ours |= {job.id for job in before.jobs if job.active}
    bound = bind(session.repository.desired, after)
    jobs = {name: job for name, job in bound.items() if job and job.id in ours}
    losses: Mapping[str, Losses] = {}
    try:
        losses = await read_losses(session.client, [job for job in jobs.values() if not job.active], session.cache)
    except ReconcilerError as error:
        run.notes.append(f"How the losses went is not known. {error}")
    run.found(trained=tuple(Trained(name, job, losses.get(job.id, Losses())) for name, job in sorted(jobs.items())))


def _drift(run: Run) -> int:
    if run.finished.offline:
        raise UsageError(f"Drift shows on a server, and for this pull request none is asked: {run.finished.offline}.")
    run_async(_drifted(run))
    drift = run.finished.drift or ()
    terminal = Terminal.of(sys.stdout)
    click.echo(render_drift(drift, color=terminal.color, width=terminal.width), nl=False)
    return DRIFTED if drift and run.settings.fail_on_drift else 0


async def _drifted(run: Run) -> None:
    async with open_session(run.where) as session:
        _enter(run, session)
        observed = await session.observe()
        run.found(drift=drift_in(session, observed), models=models_of(session, observed))
        keep_produced(run, session, observed)


_COMMANDS = {"validate": _validate, "plan": _plan, "apply": _apply, "drift": _drift}


def _enter(run: Run, session: Session) -> None:
    _mask(run, session.client.server.key)
    run.keyed = session.client.server.key is not None
    run.root = session.repository.root
    run.found(owner=session.owner, desired=session.repository.desired, warnings=session.repository.warnings)


def _out_dir(run: Run) -> Path:
    given = run.settings.out_dir or (Path(temp) / "reconciler" if (temp := os.environ.get("RUNNER_TEMP")) else None)
    directory = given or (run.root or Path()) / STATE / "ci"
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReconcilerError(
            f"{directory} cannot be made: {error.strerror}.", hint="Choose another --out-dir."
        ) from error
    return directory


def _save_json(run: Run) -> None:
    if run.finished.plan is not None:
        path = _out_dir(run) / "plan.json"
        write_atomic(path, to_text(plan_json(run.finished.plan)))
        run.plan_json = path
