"""``reconciler ci``: a run in a pipeline, for people who read pull requests."""

from __future__ import annotations

import functools
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from reconciler.ci.surroundings import Surroundings, read_surroundings
from reconciler.cli.ci_model import Settings
from reconciler.cli.ci_run import carry_out
from reconciler.cli.options import Command, Where, Which, where_options, which_options
from reconciler.errors import UsageError

_PATHS = click.argument("paths", nargs=-1, metavar="[PATHS]...", envvar="RECONCILER_CI_PATHS")


def _settings(function: Command) -> Command:
    """Add what only pipelines need, passed on as one ``settings``. Each can be a variable: actions set those."""

    @functools.wraps(function)
    def wrapper(*args: object, **kwargs: Any) -> object:  # noqa: ANN401 - whatever each option makes of its text
        settings = Settings(**{field.name: kwargs.pop(field.name) for field in fields(Settings)})
        return function(*args, settings=settings, **kwargs)

    for decorator in reversed(_OPTIONS):
        wrapper = decorator(wrapper)
    return wrapper


_OPTIONS = (
    click.option(
        "--command",
        "asked",
        type=click.Choice(["auto", "validate", "plan", "apply", "drift"]),
        default="auto",
        show_default=True,
        envvar="RECONCILER_CI_COMMAND",
        help="What to run; auto goes by GitHub's event.",
    ),
    click.option(
        "--comment",
        type=click.Choice(["auto", "always", "on-change", "never"]),
        default="auto",
        show_default=True,
        envvar="RECONCILER_CI_COMMENT",
        help="When a pull request gets a comment.",
    ),
    click.option(
        "--out-dir",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="RECONCILER_CI_OUT_DIR",
        help="Where the plan is saved.  [default: RUNNER_TEMP, else .reconciler/ci]",
    ),
    click.option(
        "--wait/--no-wait", default=False, envvar="RECONCILER_CI_WAIT", help="Follow applied jobs to their end."
    ),
    click.option(
        "--wait-timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="MINUTES",
        envvar="RECONCILER_CI_WAIT_TIMEOUT",
        help="How long to follow them; they go on without us.",
    ),
    click.option(
        "--fail-on-drift/--no-fail-on-drift",
        default=True,
        show_default=True,
        envvar="RECONCILER_CI_FAIL_ON_DRIFT",
        help="Exit with 3 where there is drift.",
    ),
    click.option(
        "--fail-on-blocked/--no-fail-on-blocked",
        default=False,
        show_default=True,
        envvar="RECONCILER_CI_FAIL_ON_BLOCKED",
        help="Exit with 1 where a spec is blocked.",
    ),
    click.option(
        "--require-reviewed-plan/--no-require-reviewed-plan",
        default=False,
        show_default=True,
        envvar="RECONCILER_CI_REQUIRE_REVIEWED_PLAN",
        help="Apply only what the plan on the merged pull request showed.",
    ),
    click.option(
        "--allow-stale/--no-allow-stale",
        default=False,
        show_default=True,
        envvar="RECONCILER_CI_ALLOW_STALE",
        help="Apply a commit that is not its branch's newest.",
    ),
    click.option(
        "--base",
        metavar="COMMIT",
        envvar="RECONCILER_CI_BASE",
        help="Go by the settings of this commit, and compare with it; on GitHub a pull request's is known.",
    ),
    click.option(
        "--lock-file",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="RECONCILER_CI_LOCK_FILE",
        help="Keep what each spec has produced in this file, after apply and drift.",
    ),
    click.option(
        "--lock-commit",
        type=click.Choice(["none", "commit", "pull-request"]),
        default="none",
        show_default=True,
        envvar="RECONCILER_CI_LOCK_COMMIT",
        help="Bring that file to GitHub, too.",
    ),
)


@click.command()
@functools.partial(where_options, paths=_PATHS)
@which_options
@_settings
def command(where: Where, which: Which, settings: Settings) -> int:
    """Run in a pipeline: a comment on the pull request, annotations, a job summary and outputs.

    GitHub's environment says what happened: auto is plan on a pull request, apply on a push to the default branch,
    drift on a schedule, and plan on anything else. Whatever GitHub's own API refuses goes to the job summary and fails
    nothing. The key is read from the environment as ever.
    """
    around = _surroundings()
    return carry_out(where, which, settings, around, around.choose(settings.asked))


def _surroundings() -> Surroundings:
    path = os.environ.get("GITHUB_EVENT_PATH")
    try:
        payload = Path(path).read_bytes() if path else None
    except OSError as error:
        raise UsageError(f"GITHUB_EVENT_PATH cannot be read: {error.strerror}.") from error
    return read_surroundings(os.environ, payload)
