"""Jobs as the pages read them: rows, curves and facts, made of the wire's documents. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.observe.ownership import NAME, OWNER, REVISION
from reconciler.ui.source import Details, Document, Entry, Events, Listing

_SHOWN = (
    "id", "status", "model", "fine_tuned_model", "created_at", "finished_at", "estimated_finish", "trained_tokens",
)  # fmt: skip
_FACTS = (
    "training_file", "validation_file", "seed", "method", "hyperparameters", "integrations", "metadata", "error",
    "result_files", "organization_id",
)  # fmt: skip


def listing(found: Listing) -> dict[str, Any]:
    """Return a page of the list."""
    return {"jobs": [row(entry) for entry in found.entries], "counts": found.counts, "owners": found.owners}


def row(entry: Entry) -> dict[str, Any]:
    """Return what the list shows of a job. A job of nobody's is called by its suffix, else by nothing."""
    metadata = entry.job.get("metadata") or {}
    revision, _, attempt = str(metadata.get(REVISION, "")).partition(".")
    return {
        **{key: entry.job.get(key) for key in _SHOWN},
        "name": metadata.get(NAME) or entry.job.get("user_provided_suffix"),
        "owner": metadata.get(OWNER),
        "revision": revision or None,
        "attempt": attempt or None,
        "step": _number(entry.progress.get("step")),
        "total_steps": _number(entry.progress.get("total_steps")),
        "loss": _number(entry.progress.get("train_loss")),
    }


def details(found: Details) -> dict[str, Any]:
    """Return what a job's own page shows, but its events."""
    job = found.entry.job
    return {
        **row(found.entry),
        **{key: job.get(key) for key in _FACTS},
        "curves": curves(found.steps),
        "checkpoints": [
            {
                "id": point.get("id"),
                "created_at": point.get("created_at"),
                "model": point.get("fine_tuned_model_checkpoint"),
                "step": _number(point.get("step_number")),
                "metrics": _numbers(point.get("metrics") or {}),
            }
            for point in found.checkpoints
        ],
        "verbs": list(found.verbs),
    }


def curves(steps: Sequence[Document]) -> dict[str, list[float | None]]:
    """Return the numbers of every step as columns of equal length, ``step`` the first and ascending; None for a gap."""
    known = {step: data for data in steps if (step := _number(data.get("step"))) is not None}
    ordered = [known[step] for step in sorted(known)]
    names = dict.fromkeys(name for data in ordered for name, value in data.items() if _number(value) is not None)
    names.pop("total_steps", None)
    return {"step": [], **{name: [_number(data.get(name)) for data in ordered] for name in names}}


def events(found: Events) -> dict[str, Any]:
    """Return what happened to a job."""
    keys = ("id", "created_at", "level", "message", "type")
    return {"events": [{key: event.get(key) for key in keys} for event in found.events], "has_more": found.has_more}


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: number for name, value in values.items() if (number := _number(value)) is not None}


def _number(value: object) -> float | None:
    """Return a number that JSON can hold."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if abs(value) < 1e100 and math.isfinite(value) else None
