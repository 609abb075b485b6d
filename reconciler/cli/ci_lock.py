"""Models written back to git, for deployments: a lock file in the work tree, in a commit, or in a pull request."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from reconciler.ci.github import GitHub
from reconciler.ci.lock import produced, updated
from reconciler.ci.writing import Change, commit, propose
from reconciler.cli.ci_model import Run
from reconciler.cli.output import write_atomic
from reconciler.cli.secrets import SECRETS
from reconciler.cli.session import Session
from reconciler.errors import HostError, ReconcilerError, UsageError
from reconciler.observe.state import Observed
from reconciler.plan.planner import bind


def check_lock(run: Run) -> None:
    """Refuse what cannot work, before anything is bought.

    Raises:
        UsageError: a lock file without a name, outside of what was checked out, or among the specs.
    """
    lock, how = run.settings.lock_file, run.settings.lock_commit
    if lock is None:
        if how != "none":
            raise UsageError(f"--lock-commit {how} says nothing of which file.", hint="Add --lock-file models.yaml.")
        return
    if any(lock.resolve().is_relative_to(Path(path).resolve()) for path in run.where.paths):
        raise UsageError(
            f"--lock-file {lock} lies among the specs, and would be read as one.", hint="Put it elsewhere."
        )
    if how != "none" and not lock.resolve().is_relative_to(_top(run)):
        raise UsageError(f"--lock-file {lock} is outside of what was checked out, so it cannot be committed.")


def _top(run: Run) -> Path:
    return (run.around.workspace or Path()).resolve()


def keep_produced(run: Run, session: Session, observed: Observed) -> None:
    """Keep what each spec has produced, for the lock file."""
    desired = session.repository.desired
    run.produced = produced(desired, bind(desired, observed))


def write_back(run: Run) -> list[str]:
    """Bring the lock file up to date; return what went wrong, in words. Nothing of it fails a run that has applied."""
    lock = run.settings.lock_file
    if lock is None or run.produced is None or run.around.proposed:
        return []
    try:
        run.found(written=_write(run, lock))
    except (ReconcilerError, OSError, UnicodeDecodeError) as error:
        hint = _permissions(run) if isinstance(error, HostError) and error.status in (403, 404) else ""
        return [f"{lock.name} could not be brought up to date. {error} {hint or getattr(error, 'hint', '')}".strip()]
    return []


def _permissions(run: Run) -> str:
    if run.settings.lock_commit == "commit":
        return "Give the job permissions: contents: write; where the branch is protected, use a pull request."
    return (
        "Give the job permissions: contents: write, pull-requests: write; and let Actions create pull requests "
        "(Settings > Actions > General)."
    )


def _write(run: Run, lock: Path) -> str:
    """Write where it is wanted; return in words what was changed, nothing where nothing differs."""
    around, how = run.around, run.settings.lock_commit
    assert run.produced is not None  # noqa: S101 - for mypy: the caller has looked
    update = partial(_updated, run, lock.name)
    old = lock.read_text(encoding="utf-8") if lock.exists() else None
    new = update(old)
    if new is not None and new != old:
        write_atomic(lock, new)
    if how == "none":
        return f"{lock.name} was written." if new != old else ""
    branch = around.applied_branch
    if not around.repository or not around.token or not branch:
        raise HostError(
            "There is no branch of GitHub's to write to, or no GITHUB_TOKEN.", hint="The file is in the work tree."
        )
    path = lock.resolve().relative_to(_top(run)).as_posix()
    with GitHub(around.api_url, around.repository, around.token) as github:
        if how == "commit":
            made = commit(github, branch, Change(path, update))
            return f"{path} was brought up to date on {branch} by commit {made[:7]}." if made else ""
        body = f"Models that the specs have produced, for deployments that read them from git. {around.run_url or ''}"
        number = propose(github, branch, Change(path, update), body.strip())
        return f"Pull request {number} brings {path} up to date." if number else ""


def _updated(run: Run, name: str, old: str | None) -> str | None:
    text = updated(old, run.produced or {}, name)
    return None if text is None else SECRETS.redact(text)
