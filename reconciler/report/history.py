"""Every attempt at a spec: a table for people, a document for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from reconciler.history.attempts import Attempt, Data
from reconciler.history.commits import Version
from reconciler.observe.state import ObservedJob
from reconciler.report.escape import clean
from reconciler.report.figures import duration, number, timestamp
from reconciler.report.layout import Page, Row, table
from reconciler.report.style import Span, status_style
from reconciler.report.words import revision

_DIGITS = 10
"""How many digits of a commit are shown."""

_HEAD = ("REVISION", "STATUS", "TOOK", "TOKENS", "LOSS", "VALID")
_BELOW = ("DATA", "CREATED", "COMMIT", "SETTINGS", "JOB", "MODEL")


def history_json(name: str, attempts: Sequence[Attempt], notes: Sequence[str]) -> dict[str, Any]:
    """Return the document of ``history --format json``. Times are in Unix seconds, ``seconds`` is how long it took."""
    return {"name": name, "attempts": [_attempt_json(attempt) for attempt in attempts], "notes": list(notes)}


def _attempt_json(attempt: Attempt) -> dict[str, Any]:
    job, origin, losses = attempt.job, attempt.origin, attempt.losses
    return {
        "revision": job.revision,
        "attempt": job.attempt,
        "job_id": job.id,
        "name": job.name,
        "status": job.status,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "seconds": took(job),
        **version_json(origin.version),
        "training_file": data_json(origin.training),
        "validation_file": data_json(origin.validation),
        "base_model": job.model,
        "method": job.method.get("type"),
        "hyperparameters": hyperparameters(job),
        "seed": job.seed,
        "trained_tokens": job.trained_tokens,
        "train_loss": losses.final_train,
        "valid_loss": losses.final_valid,
        "fine_tuned_model": job.fine_tuned_model,
        "error": job.error_message,
    }


def version_json(version: Version | None) -> dict[str, Any]:
    """Return what is known of a job's spec; ``committed`` is null where no spec is known to have its revision."""
    return {
        "committed": None if version is None else version.commit is not None,
        "commit": version.commit if version else None,
        "commit_time": version.time if version and version.commit else None,
        "subject": version.subject if version and version.commit else None,
        "source": {"file": version.file, "line": version.line} if version else None,
    }


def data_json(data: Data | None) -> dict[str, Any] | None:
    """Return what is known of a data file; ``sha256`` has 64 digits, 16 where only its name on the server tells."""
    return None if data is None else {"id": data.file_id, "sha256": data.digest, "path": data.path}


def took(job: ObservedJob) -> int | None:
    """Return the seconds from a job's creation to its end, waiting included."""
    return None if job.finished_at is None else max(0, job.finished_at - job.created_at)


def hyperparameters(job: ObservedJob) -> dict[str, Any]:
    """Return the numbers a job was trained with, as the server shows them."""
    settings = job.method.get(str(job.method.get("type")))
    found = settings.get("hyperparameters") if isinstance(settings, dict) else None
    return dict(sorted(found.items())) if isinstance(found, dict) else {}


def settings(job: ObservedJob) -> str:
    """Return the same in words: ``n_epochs=3 seed=7``."""
    given = {**hyperparameters(job), **({} if job.seed is None else {"seed": job.seed})}
    return " ".join(f"{key}={_value(value)}" for key, value in given.items() if value is not None)


def _value(value: object) -> str:
    if isinstance(value, float):
        return number(value)
    return value if isinstance(value, str) else json.dumps(value)


def commit_words(version: Version | None) -> tuple[str, str]:
    """Return a commit's first digits and its subject; words where there is none."""
    if version is None:
        return "", "no commit has this revision"
    return (version.commit[:_DIGITS], version.subject) if version.commit else ("", "not committed yet")


def render_history(
    name: str, attempts: Sequence[Attempt], notes: Sequence[str], *, color: bool, width: int | None
) -> str:
    """Render the attempts in the order given; where the table is too wide, part of it goes below each row."""
    page = Page(color=color, width=width)
    if attempts:
        rows = [Row([*_cells(attempt, name), *_below(attempt)], _error(attempt)) for attempt in attempts]
        table(page, (*_HEAD, *_BELOW), rows, right={2, 3, 4, 5}, spill=len(_BELOW))
        page.blank()
    for note in notes:
        page.line(("Note: ", "warn"), clean(note), hang=6)
    page.line((conclusion(name, attempts), "title"))
    return str(page)


def _cells(attempt: Attempt, name: str) -> list[Span]:
    job, losses = attempt.job, attempt.losses
    seconds = took(job)
    was = f" as {job.name}" if job.name != name else ""
    return [
        (clean(revision(job.revision, job.attempt) + was), "title"),
        (clean(job.status), status_style(job.status)),
        ("" if seconds is None else duration(seconds), ""),
        ("" if job.trained_tokens is None else f"{job.trained_tokens:,}", ""),
        ("" if losses.final_train is None else number(losses.final_train), ""),
        ("" if losses.final_valid is None else number(losses.final_valid), ""),
    ]


def data_words(data: Data | None) -> str:
    """Return the first digits of data's digest, else the file's id."""
    if data is None:
        return ""
    return clean(data.digest[:8] if data.digest else data.file_id)


def _below(attempt: Attempt) -> list[Span]:
    job = attempt.job
    return [
        (data_words(attempt.origin.training), ""),
        (timestamp(job.created_at), "dim"),
        (clean(" ".join(filter(None, commit_words(attempt.origin.version))), 80), ""),
        (clean(settings(job)), "dim"),
        (clean(job.id), "dim"),
        (clean(job.fine_tuned_model or ""), "good"),
    ]


def _error(attempt: Attempt) -> list[list[Span]]:
    why = attempt.job.error_message
    return [[("error  ", "dim"), (clean(why), "bad")]] if why else []


def conclusion(name: str, attempts: Sequence[Attempt]) -> str:
    """Return the last line: how many jobs of how many revisions, and the tokens they were trained on."""
    if not attempts:
        return f"{clean(name)} has no job yet."
    revisions = len({attempt.job.revision for attempt in attempts})
    tokens = sum(attempt.job.trained_tokens or 0 for attempt in attempts)
    return (
        f"{clean(name)}: {len(attempts)} {'job' if len(attempts) == 1 else 'jobs'} of "
        f"{revisions} {'revision' if revisions == 1 else 'revisions'}, {tokens:,} tokens trained."
    )
