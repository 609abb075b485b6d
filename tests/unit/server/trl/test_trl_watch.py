"""When what training says of its steps is taken for diverged."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny import needs_engine

from reconciler.server.trainers.trl.catalogue import Entry
from reconciler.server.trainers.trl.faults import Failure
from reconciler.server.trainers.trl.order import Order, Said, Told
from reconciler.server.trainers.trl.recipe import Recipe

pytestmark = [pytest.mark.slow, needs_engine]
FINE, OVERFLOWS, BROKEN = (2.0, 1.0), (2.0, math.inf), (math.nan, 1.0)
"""The loss and the size of the gradient of a step."""


def order(directory: Path) -> Order:
    return Order(
        job_id="ftjob-x", model="tiny", output_model="ft:tiny:local::x", method="supervised", settings={}, seed=1,
        training_file=directory, validation_file=None, workdir=directory, place=directory, parent=None, cache=directory,
        entry=Entry(path="x"), recipe=Recipe(learning_rate=1, epochs=1, batch=1, held=1), state=None, threads=1,
        card={}, tracking=directory, created_at=0,
    )  # fmt: skip


def diverged(directory: Path, *steps: tuple[float, float], fp16: bool) -> str | None:
    """Show steps to a watch that tells each; return how it fails, if it does."""
    from reconciler.server.trainers.trl.watch import Watch  # noqa: PLC0415 - loads transformers

    told: list[Told] = []
    watch = Watch(order(directory), Said(), 0, told.append, validates=False)
    args = SimpleNamespace(fp16=fp16)
    try:
        for number, (loss, gradient) in enumerate(steps, 1):
            state: Any = SimpleNamespace(global_step=number, max_steps=len(steps))
            watch.on_log(args, state, None, logs={"loss": loss, "grad_norm": gradient})
            watch.on_step_begin(args, state, None)
    except Failure as failure:
        return f"{failure.code}: {failure.message}"
    assert [each.step for each in told] == list(range(1, len(steps) + 1))
    return None


def test_float16_finds_its_scale_by_gradients_that_are_too_large(tmp_path: Path) -> None:
    found = [OVERFLOWS] * 16
    assert diverged(tmp_path, *found, FINE, *found, fp16=True) is None
    assert diverged(tmp_path, FINE, OVERFLOWS, fp16=False) == (
        "training_diverged: Training diverged at step 2: the gradients are no numbers any more. "
        "Lower learning_rate_multiplier."
    )


def test_float16_that_finds_none_diverged(tmp_path: Path) -> None:
    assert diverged(tmp_path, FINE, *[OVERFLOWS] * 30, fp16=True) == (
        "training_diverged: Training diverged at step 22: the gradients are no numbers any more. "
        "Lower learning_rate_multiplier, or have dtype bfloat16 or float32 in the server's catalogue."
    )


@pytest.mark.parametrize("fp16", [True, False])
def test_a_loss_that_is_no_number_diverged_at_once(tmp_path: Path, fp16: bool) -> None:
    words = diverged(tmp_path, FINE, BROKEN, fp16=fp16)
    assert words is not None
    assert words.startswith("training_diverged: Training diverged at step 2: the loss is no number any more.")


@pytest.mark.parametrize("hook", ["on_substep_end", "on_step_end", "on_prediction_step"])
def test_a_run_that_is_dropped_ends_within_a_step_and_in_validation(tmp_path: Path, hook: str) -> None:
    from reconciler.server.trainers.trl.watch import Dropped, Watch  # noqa: PLC0415 - loads transformers

    said = Said()
    watch = Watch(order(tmp_path), said, 0, lambda _: None, validates=True)
    state, control = SimpleNamespace(global_step=1, max_steps=4), SimpleNamespace()
    said.hear("stop")
    getattr(watch, hook)(None, state, control)
    said.hear("drop")
    with pytest.raises(Dropped):
        getattr(watch, hook)(None, state, control)


def test_a_pause_that_is_asked_for_in_validation_follows_it(tmp_path: Path) -> None:
    from reconciler.server.trainers.trl.watch import Watch  # noqa: PLC0415 - loads transformers

    said = Said()
    watch = Watch(order(tmp_path), said, 0, lambda _: None, validates=True)
    state, control = SimpleNamespace(global_step=1, max_steps=4), SimpleNamespace()
    watch.on_evaluate(None, state, control)
    assert vars(control) == {}
    said.hear("stop")
    watch.on_evaluate(None, state, control)
    assert control.should_save
    assert control.should_training_stop
