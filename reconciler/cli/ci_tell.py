"""What a pipeline's run leaves for its reviewers: the comment, the summary, outputs and annotations."""

from __future__ import annotations

import secrets
from pathlib import Path

import click

from reconciler.ci.annotations import Annotation, annotate
from reconciler.ci.comment import comment, marker
from reconciler.ci.github import GitHub
from reconciler.ci.outputs import output_text, outputs
from reconciler.ci.sticky import keep
from reconciler.ci.summary import LARGEST, summary
from reconciler.ci.token import too_wide
from reconciler.cli.ci_lock import write_back
from reconciler.cli.ci_model import Run
from reconciler.cli.say import say
from reconciler.cli.secrets import SECRETS
from reconciler.errors import HostError, SpecError
from reconciler.report.escape import clean, code, md
from reconciler.spec.documents import read_bytes


def hide(secret: str | None) -> None:
    """Know a secret, also as markdown would spell it."""
    if secret:
        SECRETS.add([secret, md(secret), code(secret).removeprefix("<code>").removesuffix("</code>")])


def tell(run: Run) -> None:
    """Tell reviewers; what cannot be told becomes a note in the summary and a warning."""
    around, comment_id = run.around, None
    notes = [*run.notes, *_wide(run), *write_back(run)]
    try:
        comment_id = _comment(run)
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


def _wide(run: Run) -> list[str]:
    """Warn of a token that may do more than it needs to, where the workflow's file is here."""
    around, writes = run.around, run.settings.lock_commit != "none"
    if around.workflow is None or around.workspace is None:
        return []
    try:
        said = too_wide(read_bytes(str(around.workspace / around.workflow), ""), around.job, writes=writes)
    except (OSError, SpecError):
        return []
    return [said] if said else []


def _comment(run: Run) -> int | None:
    """Keep the comment of a pull request up to date, where there is one and a token to do it with."""
    finished, around, mode = run.finished, run.around, run.settings.comment
    if around.pull_request is None or mode == "never":
        return None
    if not finished.owner:
        raise HostError("Nothing says whose comment it would be.", hint="See the error; it has to be mended first.")
    if not around.repository or not around.token:
        raise HostError("GITHUB_TOKEN is not set.", hint="Pass it in the step's env: ${{ github.token }}")

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
