from __future__ import annotations

import json
import math

import pytest

from reconciler.api.types import Checkpoint, CheckpointMetrics, Event
from reconciler.report.checkpoints import checkpoints_json, render_checkpoints
from reconciler.report.document import to_text
from reconciler.report.events import event_json, events_json, loss_of, render_event, render_events

START = 1_772_000_000


def step(number: int, loss: float, message: str = "") -> Event:
    data = {"step": number, "total_steps": 9, "train_loss": loss, "train_mean_token_accuracy": 0.5}
    return Event(id=f"e{number}", created_at=START + number, type="metrics", message=message, data=data)


def checkpoint(number: int, **metrics: float) -> Checkpoint:
    return Checkpoint(
        id=f"ckpt-{number}",
        created_at=START + number,
        step_number=number,
        fine_tuned_model_checkpoint=f"ft:m:acme:t:1:ckpt-step-{number}",
        metrics=CheckpointMetrics(**metrics),
        fine_tuning_job_id="ftjob-1",
    )


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Event(id="e", created_at=START, message="Job\nstarted"), "2026-02-25T06:13:20Z  info   Job started"),
        (Event(id="e", created_at=START, level="error", message="\x1b[2J"), r"2026-02-25T06:13:20Z  error  \x1b[2J"),
        (step(1, 1.25), "2026-02-25T06:13:21Z  info   train_loss=1.25 train_mean_token_accuracy=0.5"),
        (step(1, 1.25, "Step 1/9: loss 1.25"), (
            "2026-02-25T06:13:21Z  info   Step 1/9: loss 1.25  train_mean_token_accuracy=0.5"
        )),
        (Event(id="e", created_at=START, type="metrics", message="m", data={"note": "text"}), (
            "2026-02-25T06:13:20Z  info   m"
        )),
        (Event(id="e", created_at=START, message="m", data={"train_loss": 1}), "2026-02-25T06:13:20Z  info   m"),
    ],
)  # fmt: skip
def test_an_event_is_a_line(event: Event, line: str) -> None:
    assert render_event(event, color=False, width=None) == line + "\n"


def test_a_loss_that_is_nearly_nothing_is_said_once() -> None:
    for message in ("loss=-0.0000", "loss=0.0000"):
        event = Event(id="e", created_at=START, message=message, type="metrics", data={"train_loss": -1e-9})
        assert render_event(event, color=False, width=None).endswith(f"  {message}\n")


@pytest.mark.parametrize(
    ("message", "left"),
    [
        ("Step 1/9: training loss=0.6753", "valid_loss=0.6753 train_mean_token_accuracy=0.6753"),
        ("Step 1/9: training loss=0.68, validation loss=0.68", "train_mean_token_accuracy=0.6753"),
        ("Step 1/9: full validation loss=0.68", "train_loss=0.6753 valid_loss=0.6753 train_mean_token_accuracy=0.6753"),
        ("Step 0.67/9", "train_loss=0.6753 valid_loss=0.6753 train_mean_token_accuracy=0.6753"),
    ],
)
def test_only_a_loss_that_the_message_says_is_left_out(message: str, left: str) -> None:
    data = {"train_loss": 0.675283, "valid_loss": 0.675301, "train_mean_token_accuracy": 0.6753}
    event = Event(id="e", created_at=START, message=message, type="metrics", data=data)
    assert render_event(event, color=False, width=None) == f"2026-02-25T06:13:20Z  info   {message}  {left}\n"


def test_a_loss_worth_looking_at_is_drawn_in_order_of_time() -> None:
    events = [step(4, 1.0), step(3, 2.0), step(2, 3.0), step(1, 4.0)]
    shown = render_events(events, color=False, width=None)
    assert shown.endswith("\n\ntrain_loss  █▆▃▁  4 -> 1, 4 steps\n")
    assert shown.index("06:13:24") < shown.index("06:13:21")


def test_too_few_steps_are_no_curve() -> None:
    assert "->" not in render_events([step(1, 2.0), step(2, 1.0)], color=False, width=None)


@pytest.mark.parametrize("data", [None, {}, {"train_loss": "low"}, {"train_loss": True}, {"train_loss": 10**400}])
def test_what_is_no_loss_is_none(data: dict[str, object] | None) -> None:
    assert loss_of(data) is None


def test_events_keep_the_servers_own_words_in_json() -> None:
    event = Event.model_validate({"id": "e", "created_at": START, "message": "m", "data": {"deep": [1]}, "extra": 1})
    assert event_json(event).keys() == {"id", "created_at", "level", "message", "type", "data"}
    assert events_json([event])["events"][0]["data"] == {"deep": [1]}


def test_a_loss_of_nan_is_shown_and_still_valid_json() -> None:
    event = step(1, math.nan)
    assert "train_loss=nan" in render_event(event, color=False, width=None)
    assert json.loads(to_text(event_json(event)))["data"]["train_loss"] is None


def test_checkpoints_show_what_was_measured_and_nothing_else() -> None:
    shown = render_checkpoints(
        [checkpoint(20, train_loss=0.5), checkpoint(10)], color=False, width=None, best="ckpt-20"
    )
    assert shown.splitlines() == [
        "STEP  SAVED                 TRAIN LOSS        MODEL",
        "  20  2026-02-25T06:13:40Z         0.5  best  ft:m:acme:t:1:ckpt-step-20",
        "  10  2026-02-25T06:13:30Z                    ft:m:acme:t:1:ckpt-step-10",
    ]


def test_checkpoints_show_rewards_with_a_curve() -> None:
    checkpoints = [checkpoint(n, train_loss=0.0, full_valid_reward_mean=n / 4) for n in (1, 2, 3, 4)]
    shown = render_checkpoints(checkpoints, color=False, width=None)
    assert shown.startswith("STEP  SAVED                 FULL VALID REWARD  TRAIN LOSS    MODEL\n")
    assert "full_valid_reward_mean  ▁▃▆█  0.25 -> 1\n" in shown


def test_a_narrow_terminal_gets_the_models_below() -> None:
    shown = render_checkpoints([checkpoint(20, train_loss=0.5)], color=False, width=60)
    assert "\n  model  ft:m:acme:t:1:ckpt-step-20\n" in shown


def test_enough_checkpoints_are_a_curve_from_the_first_step() -> None:
    checkpoints = [checkpoint(n, full_valid_loss=float(n)) for n in (4, 3, 2, 1)]
    assert "full_valid_loss  ▁▃▆█  1 -> 4\n" in render_checkpoints(checkpoints, color=False, width=None)


def test_no_checkpoints_are_said_to_be_none() -> None:
    assert render_checkpoints([], color=False, width=80) == "No checkpoints.\n"
    assert checkpoints_json([]) == {"checkpoints": []}


def test_checkpoints_keep_the_api_names_in_json() -> None:
    (document,) = checkpoints_json([checkpoint(20, valid_loss=1.5)])["checkpoints"]
    assert document["step_number"] == 20
    assert document["fine_tuned_model_checkpoint"] == "ft:m:acme:t:1:ckpt-step-20"
    assert document["metrics"]["valid_loss"] == 1.5
    assert document["metrics"]["train_loss"] is None
