"""Outputs of a step, in the form that keeps line breaks and quotes. Pure but for the random delimiter it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from reconciler.ci.finished import Finished
from reconciler.plan.model import Action
from reconciler.report.document import to_text
from reconciler.report.words import costs

_LARGEST = 512 * 1024


def outputs(
    finished: Finished, *, plan_file: Path | None, plan_json: Path | None, comment_id: int | None
) -> dict[str, str]:
    """Return the outputs by name; every one is there, empty where this run has none.

    Counts are of the plan's changes. ``outputs-json`` maps names of specs to models; GitHub takes one MiB of outputs in
    all, so one over half of that is left empty.
    """
    plan = finished.plan
    live = None if plan and plan.compared else plan
    models = "" if finished.models is None else to_text(dict(sorted(finished.models.items())), indent=None).strip()
    return {
        "command": finished.command,
        "has-changes": ("true" if plan.has_changes else "false") if plan else "",
        **{action.value: str(plan.summary[action]) if plan else "" for action in Action},
        "fingerprint": live.fingerprint if live else "",
        "offline": ("true" if plan.compared else "false") if plan else "",
        "cost-estimate": costs(plan) if plan else "",
        "plan-file": str(plan_file) if plan_file else "",
        "plan-json": str(plan_json) if plan_json else "",
        "outputs-json": models if len(models) <= _LARGEST else "",
        "lock-changed": "" if finished.written is None else "true" if finished.written else "false",
        "drift": "" if finished.drift is None else str(len(finished.drift)),
        "comment-id": "" if comment_id is None else str(comment_id),
    }


def output_text(values: Mapping[str, str], delimiter: Callable[[], str]) -> str:
    """Return what is appended to GITHUB_OUTPUT; ``delimiter`` gives a word nobody can guess, another at each call."""
    lines = []
    for name, value in values.items():
        mark = delimiter()
        while mark in value:
            mark = delimiter()
        lines += [f"{name}<<{mark}", value, mark]
    return "".join(f"{line}\n" for line in lines)
