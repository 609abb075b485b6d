"""What ``reconciler ci`` does: run, tell reviewers, and never fail a run for what its reviewers could not be told."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import click

from reconciler.apply.model import Outcome
from reconciler.ci.annotations import Annotation, annotate
from reconciler.ci.comment import comment, marker
from reconciler.ci.finished import Finished
from reconciler.ci.outputs import output_text, outputs
from reconciler.ci.sticky import Mode, keep
from reconciler.ci.summary import LARGEST, summary
from reconciler.ci.surroundings import Asked, Command, Surroundings
from reconciler.cli.apply import Applied, finish, show
from reconciler.cli.drift import DRIFTED, drift_in
from reconciler.cli.options import Where, Which
from reconciler.cli.output import write_atomic
from reconciler.cli.outputs import models_of
from reconciler.cli.plan import planned, rendered
from reconciler.cli.say import say
from reconciler.cli.secrets import SECRETS
from reconciler.cli.session import STATE, Session, load_specs, open_session, owner_of, run_async
from reconciler.cli.terminal import Terminal
from reconciler.errors import HostError, ReconcilerError
from reconciler.loop import refuse_unsafe, run_once
from reconciler.plan.model import Plan
from reconciler.report.document import to_text
from reconciler.report.drift import render_drift
from reconciler.report.escape import clean, code, md
from reconciler.report.fault import render_error
from reconciler.report.plan_json import plan_json

_CONCURRENCY = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a pipeline wants it. ``wait_timeout`` is in minutes."""

    asked: Asked
    comment: Mode
    out_dir: Path | None
    wait: bool
    wait_timeout: float | None
    fail_on_drift: bool
    fail_on_blocked: bool


@dataclass
class _Run:
    """A run under way: what it has come to so far survives any error of ours."""

    where: Where
    which: Which
    settings: Settings
    finished: Finished
    root: Path | None = None
    plan_file: Path | None = None
    plan_json: Path | None = None
    code: int = 0

    def found(self, **facts: object) -> None:
        self.finished = replace(self.finished, **facts)  # type: ignore[arg-type]


def carry_out(where: Where, which: Which, settings: Settings, around: Surroundings, command: Command) -> int:
    """Run a command and tell reviewers.

    Returns:
        The exit code, which no refusal of GitHub's changes.
    """
    _hide(around.token)
    run = _Run(where, which, settings, Finished(command=command, owner="", environment=where.environment))
    with _quiet(around):
        try:
            run.found(owner=owner_of(where))
            run.code = _COMMANDS[command](run)
        except ReconcilerError as error:
            run.found(error=error)
            terminal = Terminal.of(sys.stderr)
            text = render_error(error, color=terminal.color, width=terminal.width)
            say(str(error), "error", text=SECRETS.redact(text.rstrip("\n")))
            run.code = error.exit_code
        if settings.fail_on_blocked and run.finished.blocked:
            run.code = run.code or 1
    _tell(run, around)
    return run.code


@contextmanager
def _quiet(around: Surroundings) -> Iterator[None]:
    """Let the runner take nothing that is printed for a command to it, until we ourselves have some.

    After a fault of the program the runner stays deaf: its message is printed later, and there is nothing to annotate.
    """
    if not around.runner:
        yield
        return
    word = secrets.token_hex(16)
    click.echo(f"::stop-commands::{word}")
    sys.stdout.flush()
    yield
    sys.stderr.flush()
    click.echo(f"::{word}::")


def _hide(secret: str | None) -> None:
    """Know a secret, also as markdown would spell it."""
    if secret:
        SECRETS.add([secret, md(secret), code(secret).removeprefix("<code>").removesuffix("</code>")])


def _validate(run: _Run) -> int:
    with load_specs(run.where) as (repository, _):
        run.root = repository.root
        run.found(desired=repository.desired, warnings=repository.warnings)
    count = len(run.finished.desired)
    click.echo(f"{count} {'job is' if count == 1 else 'jobs are'} valid.")
    return 0


def _plan(run: _Run) -> int:
    run_async(_planned(run))
    plan = run.finished.plan
    assert plan is not None  # noqa: S101 - for mypy: planning ends with a plan or an error
    click.echo(rendered(plan, "text"), nl=False)
    refuse_unsafe(plan)
    return 0


async def _planned(run: _Run) -> None:
    async with open_session(run.where) as session:
        _enter(run, session)
        saved = _out_dir(run) / "saved.plan"
        view = await planned(session, run.where, run.which, saved)
        run.plan_file = saved
        run.found(plan=view.plan, models=models_of(session, view.observed))
    _save_json(run)


def _apply(run: _Run) -> int:
    applied = run_async(_applied(run))
    show(applied)
    for problem in applied.problems:
        say(f"not converged: {clean(problem)}", "error")
    if applied.error:
        raise applied.error
    return 1 if applied.failed(waited=run.settings.wait) else 0


async def _applied(run: _Run) -> Applied:
    minutes = run.settings.wait_timeout
    async with open_session(run.where) as session:
        _enter(run, session)
        reconciler = session.reconciler(run.which.to_options(session.repository))
        view = await reconciler.look()
        run.found(plan=view.plan)
        run.which.check(session.repository, view.plan)
        click.echo(rendered(view.plan, "text"), nl=False)
        _save_json(run)
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
            observed = await session.observe() if outcomes else view.observed
            run.found(models=models_of(session, observed))
        return applied


def _drift(run: _Run) -> int:
    run_async(_drifted(run))
    drift = run.finished.drift or ()
    terminal = Terminal.of(sys.stdout)
    click.echo(render_drift(drift, color=terminal.color, width=terminal.width), nl=False)
    return DRIFTED if drift and run.settings.fail_on_drift else 0


async def _drifted(run: _Run) -> None:
    async with open_session(run.where) as session:
        _enter(run, session)
        observed = await session.observe()
        run.found(drift=drift_in(session, observed), models=models_of(session, observed))


_COMMANDS = {"validate": _validate, "plan": _plan, "apply": _apply, "drift": _drift}


def _enter(run: _Run, session: Session) -> None:
    _hide(session.client.server.key)
    run.root = session.repository.root
    run.found(owner=session.owner, desired=session.repository.desired, warnings=session.repository.warnings)


def _out_dir(run: _Run) -> Path:
    given = run.settings.out_dir or (Path(temp) / "reconciler" if (temp := os.environ.get("RUNNER_TEMP")) else None)
    directory = given or (run.root or Path()) / STATE / "ci"
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReconcilerError(
            f"{directory} cannot be made: {error.strerror}.", hint="Choose another --out-dir."
        ) from error
    return directory


def _save_json(run: _Run) -> None:
    if run.finished.plan is not None:
        path = _out_dir(run) / "plan.json"
        write_atomic(path, to_text(plan_json(run.finished.plan)))
        run.plan_json = path


def _tell(run: _Run, around: Surroundings) -> None:
    """Tell reviewers; what cannot be told becomes a note in the summary and a warning."""
    notes: list[str] = []
    comment_id = None
    try:
        comment_id = _comment(run, around)
    except HostError as error:
        notes.append(f"No comment could be kept up to date. {error} {error.hint}".strip())
    values = outputs(run.finished, plan_file=run.plan_file, plan_json=run.plan_json, comment_id=comment_id)
    notes += _append(around.output, output_text(values, lambda: f"reconciler_{secrets.token_hex(16)}"), "GITHUB_OUTPUT")
    notes += _append(around.summary, SECRETS.redact(summary(run.finished, notes)), "GITHUB_STEP_SUMMARY")
    shown = annotate(run.finished, cwd=Path.cwd(), root=run.root, workspace=around.workspace)
    if around.runner:
        for annotation in [*shown, *(Annotation("warning", note) for note in notes)]:
            click.echo(SECRETS.redact(str(annotation)))
    else:
        for note in notes:
            say(f"warning: {clean(note)}", "warning")


def _comment(run: _Run, around: Surroundings) -> int | None:
    """Keep the comment of a pull request up to date, where there is one and a token to do it with."""
    finished, mode = run.finished, run.settings.comment
    if around.event != "pull_request" or around.pull_request is None or mode == "never":
        return None
    if not finished.owner:
        raise HostError("Nothing says whose comment it would be.", hint="See the error; it has to be mended first.")
    if not around.repository or not around.token:
        raise HostError("GITHUB_TOKEN is not set.", hint="Pass it in the step's env: ${{ github.token }}")
    from reconciler.ci.github import GitHub  # noqa: PLC0415

    def render(previous: str) -> str:
        return SECRETS.redact(comment(finished, around, previous))

    mark = marker(finished.owner, finished.environment)
    with GitHub(around.api_url, around.repository, around.token) as github:
        return keep(github, around.pull_request, mark, mode, render, worth_saying=finished.says_something)


def _append(path: Path | None, text: str, what: str) -> list[str]:
    """Append to a file that the runner reads; return what went wrong, in words."""
    if path is None:
        return []
    if len(text.encode()) > LARGEST:
        return [f"{what} takes one MiB; this run's text is longer and was left out."]
    try:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        return [f"{what} cannot be written: {error.strerror}."]
    return []
