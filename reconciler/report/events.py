"""What happened to a job: lines for people, objects for programs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reconciler.api.types import Event
from reconciler.report.escape import clean
from reconciler.report.figures import measured, number, sparkline, timestamp
from reconciler.report.layout import Page
from reconciler.report.style import LEVELS, Span

_MOST_METRICS = 12
_WORTH_A_CURVE = 4
_SAID = frozenset({"step", "total_steps"})
_LOSS = re.compile(r"(full )?(valid\w* )?loss\W*?(-?\d+\.(\d+))")


def event_json(event: Event) -> dict[str, Any]:
    """Return one event with the API's own names; ``data`` is as the server sent it."""
    return {
        "id": event.id,
        "created_at": event.created_at,
        "level": event.level,
        "message": event.message,
        "type": event.type,
        "data": event.data,
    }


def events_json(events: Sequence[Event]) -> dict[str, Any]:
    """Return the document of ``events --format json``."""
    return {"events": [event_json(e) for e in events]}


def render_events(events: Sequence[Event], *, color: bool, width: int | None) -> str:
    """Render events in the order given, one a line, then how the loss went where there is a curve to see."""
    page = Page(color=color, width=width)
    for event in events:
        _put(page, event)
    losses = [loss for e in sorted(events, key=_when) if (loss := loss_of(e.data)) is not None]
    if len(losses) >= _WORTH_A_CURVE:
        page.blank()
        curve = (sparkline(losses), "calm")
        page.line("train_loss  ", curve, f"  {number(losses[0])} -> {number(losses[-1])}, {len(losses)} steps")
    return str(page)


def render_event(event: Event, *, color: bool, width: int | None) -> str:
    """Render one event, as ``--follow`` prints them."""
    page = Page(color=color, width=width)
    _put(page, event)
    return str(page)


def loss_of(data: Mapping[str, Any] | None) -> float | None:
    """Return the training loss in an event's data, None where it holds none."""
    return measured((data or {}).get("train_loss"))


def _when(event: Event) -> tuple[int, float]:
    return event.created_at, measured((event.data or {}).get("step")) or 0.0


def _put(page: Page, event: Event) -> None:
    level = clean(event.level, 16)
    style = LEVELS.get(event.level, "odd")
    head: list[Span] = [(timestamp(event.created_at), "dim"), ("  ", ""), (f"{level:<5}", style), ("  ", "")]
    metrics = list(_metrics(event))
    said = [(clean(event.message), style), *([("  ", "")] if event.message and metrics else []), *metrics]
    page.line(*head, *said, hang=29)


def _metrics(event: Event) -> Iterator[Span]:
    """Yield the numbers of a metrics event as ``name=value``, without what its message says."""
    if event.type != "metrics":
        return
    known = ((k, measured(v)) for k, v in (event.data or {}).items() if k not in _SAID)
    said = list(_losses(event.message))
    numbers = [(k, v) for k, v in known if v is not None and not any(k == n and round(v, d) == t for n, t, d in said)]
    if numbers:
        yield " ".join(f"{clean(key, 64)}={number(value)}" for key, value in numbers[:_MOST_METRICS]), "calm"


def _losses(message: str) -> Iterator[tuple[str, float, int]]:
    """Yield the losses that a message says: the name of each in an event's data, its value, and its decimals."""
    for full, valid, value, decimals in _LOSS.findall(message):
        name = "full_valid_loss" if full and valid else "valid_loss" if valid else "train_loss"
        yield name, float(value), len(decimals)
