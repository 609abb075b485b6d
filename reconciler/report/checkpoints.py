"""The models a job saved on its way: a table for people, a document for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reconciler.api.types import Checkpoint
from reconciler.report.escape import clean
from reconciler.report.figures import number, sparkline, timestamp
from reconciler.report.layout import Page, Row, table
from reconciler.report.style import Span

_METRICS = (
    ("train_reward_mean", "TRAIN REWARD"),
    ("valid_reward_mean", "VALID REWARD"),
    ("full_valid_reward_mean", "FULL VALID REWARD"),
    ("train_loss", "TRAIN LOSS"),
    ("train_mean_token_accuracy", "TRAIN ACC"),
    ("valid_loss", "VALID LOSS"),
    ("full_valid_loss", "FULL VALID LOSS"),
    ("full_valid_mean_token_accuracy", "FULL VALID ACC"),
)
_WORTH_A_CURVE = 4


def checkpoints_json(checkpoints: Sequence[Checkpoint]) -> dict[str, Any]:
    """Return the document of ``checkpoints --format json``, with the API's own names."""
    return {
        "checkpoints": [
            {
                "id": c.id,
                "created_at": c.created_at,
                "step_number": c.step_number,
                "fine_tuned_model_checkpoint": c.fine_tuned_model_checkpoint,
                "fine_tuning_job_id": c.fine_tuning_job_id,
                "metrics": c.metrics.model_dump(),
            }
            for c in checkpoints
        ]
    }


def render_checkpoints(
    checkpoints: Sequence[Checkpoint], *, color: bool, width: int | None, best: str | None = None
) -> str:
    """Render checkpoints in the order given: step, time, what was measured, its model.

    ``best`` is the id of the one that a spec's ``checkpoint: best`` chooses; it is marked.
    """
    page = Page(color=color, width=width)
    if not checkpoints:
        page.line("No checkpoints.")
        return str(page)
    measured = [(name, title) for name, title in _METRICS if any(_value(c, name) is not None for c in checkpoints)]
    head = ["STEP", "SAVED", *(title for _, title in measured), "", "MODEL"]
    rows = [_row(c, [name for name, _ in measured], best=c.id == best) for c in checkpoints]
    table(page, head, rows, right={0, *range(2, 2 + len(measured))}, spill=1)
    _put_curves(page, checkpoints, [name for name, _ in measured if not name.endswith("accuracy")])
    return str(page)


def _row(checkpoint: Checkpoint, names: Sequence[str], *, best: bool) -> Row:
    values = [_value(checkpoint, name) for name in names]
    cells: list[Span] = [
        (str(checkpoint.step_number), "title"),
        (timestamp(checkpoint.created_at), "dim"),
        *(("" if v is None else number(v), "") for v in values),
        ("best" if best else "", "good"),
        (clean(checkpoint.fine_tuned_model_checkpoint), "calm"),
    ]
    return Row(cells)


def _put_curves(page: Page, checkpoints: Sequence[Checkpoint], names: Sequence[str]) -> None:
    ordered = sorted(checkpoints, key=lambda c: c.step_number)
    width = max(map(len, names), default=0) + 2
    page.blank()
    for name in names:
        values = [v for c in ordered if (v := _value(c, name)) is not None]
        if len(values) >= _WORTH_A_CURVE:
            ends = f"  {number(values[0])} -> {number(values[-1])}"
            page.line(f"{name:<{width}}", (sparkline(values), "calm"), ends)


def _value(checkpoint: Checkpoint, name: str) -> float | None:
    value: float | None = getattr(checkpoint.metrics, name)
    return value
