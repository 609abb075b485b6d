from __future__ import annotations

import json
import math
from typing import Any

from shelf import job

from reconciler.ui import shape
from reconciler.ui.source import Details, Entry, Events

OURS = {"reconciler.owner": "us", "reconciler.name": "triage", "reconciler.revision": "0123456789abcdef.2"}


def test_a_row_says_whose_job_it_is_and_how_far() -> None:
    progress = {"step": 5, "total_steps": 20, "train_loss": 0.5, "valid_loss": 0.6}
    row = shape.row(Entry(job(metadata=OURS), progress))
    assert (row["name"], row["owner"], row["revision"], row["attempt"]) == ("triage", "us", "0123456789abcdef", "2")
    assert (row["step"], row["total_steps"], row["loss"]) == (5, 20, 0.5)


def test_a_job_of_nobodys_is_called_by_its_suffix() -> None:
    row = shape.row(Entry(job(metadata=None, user_provided_suffix="theirs")))
    assert (row["name"], row["owner"], row["revision"], row["step"]) == ("theirs", None, None, None)


def test_curves_are_columns_in_order_with_gaps() -> None:
    steps: list[dict[str, Any]] = [
        {"step": 2, "total_steps": 3, "train_loss": 0.5, "valid_loss": 0.7},
        {"step": 1, "total_steps": 3, "train_loss": 1.0},
        {"step": 3, "train_loss": math.nan, "note": "text"},
        {"step": 2, "train_loss": 0.4},
        {"train_loss": 9.0},
        {"step": True, "train_loss": 9.0},
    ]
    assert shape.curves(steps) == {"step": [1, 2, 3], "train_loss": [1.0, 0.4, None]}
    assert shape.curves([]) == {"step": []}


def test_every_answer_is_json_whatever_a_server_measures() -> None:
    wild = {"step": 1, "train_loss": math.inf, "valid_loss": 10**400, "x": "y"}
    checkpoint = {"id": "c", "step_number": 1, "metrics": {"valid_loss": math.nan, "train_loss": 1.5}}
    found = shape.details(Details(Entry(job(), wild), [wild], [checkpoint], ("cancel",)))
    assert json.loads(json.dumps(found, allow_nan=False))["checkpoints"][0]["metrics"] == {"train_loss": 1.5}
    assert found["verbs"] == ["cancel"]


def test_events_carry_words_only() -> None:
    event = {"id": "e", "created_at": 1, "level": "info", "message": "m", "type": "metrics", "data": {"step": 1}}
    assert shape.events(Events([event], has_more=True)) == {
        "events": [{"id": "e", "created_at": 1, "level": "info", "message": "m", "type": "metrics"}],
        "has_more": True,
    }
