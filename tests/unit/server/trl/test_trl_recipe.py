"""What hyperparameters mean, in numbers, and under which names numbers are shown."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.api.types import MethodType
from reconciler.server.lifecycle import resolve, unresolved
from reconciler.server.trainers.trl import metrics
from reconciler.server.trainers.trl.catalogue import Entry, Rates, Resources
from reconciler.server.trainers.trl.recipe import Recipe, recipe

ENTRY = Entry(path="x", learning_rate=Rates(supervised=0.001, dpo=0.01, reinforcement=0.1), micro_batch=8)


def made(method: MethodType, rows: int = 1000, workers: int = 1, **given: Any) -> Recipe:
    entry = ENTRY.model_copy(update={"resources": Resources(workers=workers)})
    return recipe(method, resolve(method, unresolved(method, given), rows), entry, rows)


@pytest.mark.parametrize(("method", "rate"), [("supervised", 0.002), ("dpo", 0.02), ("reinforcement", 0.2)])
def test_the_multiplier_multiplies_the_catalogues_rate_for_the_method(method: MethodType, rate: float) -> None:
    assert made(method, learning_rate_multiplier=2).learning_rate == pytest.approx(rate)


@pytest.mark.parametrize(
    ("batch", "micro", "accumulate"), [(4, 4, 1), (8, 8, 1), (16, 8, 2), (10, 5, 2), (7, 7, 1), (11, 1, 11)]
)
def test_a_batch_is_held_in_memory_in_equal_parts(batch: int, micro: int, accumulate: int) -> None:
    numbers = made("supervised", batch_size=batch)
    assert (numbers.micro, numbers.accumulate) == (micro, accumulate)


@pytest.mark.parametrize(
    ("workers", "batch", "micro", "accumulate"),
    [(2, 4, 2, 1), (2, 32, 8, 2), (4, 40, 5, 2), (3, 9, 3, 1), (8, 8, 1, 1)],
)
def test_workers_share_a_batch_in_equal_parts(workers: int, batch: int, micro: int, accumulate: int) -> None:
    numbers = made("supervised", workers=workers, batch_size=batch)
    assert (numbers.batch, numbers.micro, numbers.accumulate) == (batch, micro, accumulate)
    assert numbers.micro * numbers.accumulate * workers == batch


def test_a_batch_that_was_chosen_is_the_next_that_the_workers_share() -> None:
    assert made("supervised", rows=100, workers=4).batch == 4
    assert made("supervised", rows=500, workers=4).batch == 12


def test_a_batch_of_prompts_that_workers_share_is_no_larger_than_the_file() -> None:
    assert made("reinforcement", rows=11, workers=4, batch_size=200).batch == 8


def test_workers_share_what_memory_holds_after_a_change_of_their_number() -> None:
    assert made("supervised", workers=4, batch_size=24).holding(8).micro == 6


def test_less_memory_halves_what_is_held_and_changes_nothing_else() -> None:
    numbers = made("supervised", batch_size=16)
    less = numbers.smaller()
    assert less is not None
    assert (less.micro, less.accumulate, less.learning_rate) == (4, 4, numbers.learning_rate)
    assert made("supervised", batch_size=1).smaller() is None


def test_less_memory_is_less_for_the_validation_file_too() -> None:
    numbers = made("dpo", batch_size=4)
    less = numbers.smaller()
    assert less is not None
    assert (numbers.validated, less.validated) == (8, 2)
    one = made("supervised", batch_size=1).smaller(validates=True)
    assert one is not None
    assert (one.micro, one.validated, one.smaller(validates=True)) == (1, 1, None)


@pytest.mark.parametrize(("samples", "held", "validated"), [(1, 8, 8), (3, 8, 6), (3, 4, 3), (10, 8, 10)])
def test_all_answers_to_a_row_of_the_validation_file_are_in_memory(samples: int, held: int, validated: int) -> None:
    assert made("reinforcement", batch_size=4, eval_samples=samples).holding(held).validated == validated


@pytest.mark.parametrize(
    ("batch", "multiplier", "workers", "micro", "accumulate"), [(8, 1, 1, 8, 8), (1, 10, 1, 8, 10), (6, 0.4, 2, 3, 3)]
)
def test_rows_of_reinforcement_are_answers(
    batch: int, multiplier: float, workers: int, micro: int, accumulate: int
) -> None:
    numbers = made("reinforcement", batch_size=batch, compute_multiplier=multiplier, workers=workers)
    assert (numbers.micro, numbers.accumulate) == (micro, accumulate)
    assert micro * accumulate * workers == batch * numbers.generations


def test_reinforcement_can_do_with_less_than_all_answers_to_a_prompt() -> None:
    found, each = [], made("reinforcement", batch_size=8)
    while (less := each.smaller()) is not None:
        found.append((less.micro, less.accumulate))
        each = less
    assert found == [(4, 16), (2, 32), (1, 64)]


@pytest.mark.parametrize(("multiplier", "generations"), [(0.001, 2), (0.5, 4), (1, 8), (10, 80)])
def test_compute_buys_answers_to_a_prompt(multiplier: float, generations: int) -> None:
    numbers = made("reinforcement", compute_multiplier=multiplier, batch_size=4)
    assert numbers.generations == generations


def test_a_batch_of_prompts_is_never_larger_than_the_file() -> None:
    assert made("reinforcement", rows=12, batch_size=200).batch == 12


def test_numbers_go_by_the_apis_names_and_what_is_no_number_is_left_out() -> None:
    logs = {"loss": 0.5, "mean_token_accuracy": float("nan"), "epoch": 1.0, "note": "x"}
    assert metrics.trained("supervised", logs) == {"train_loss": 0.5}


def test_numbers_of_the_whole_validation_file_are_full_ones_too() -> None:
    logs = {"eval_loss": 0.25, "eval_runtime": 3.0}
    assert metrics.validated("supervised", logs) == {"valid_loss": 0.25, "full_valid_loss": 0.25}


def test_reinforcement_shows_the_reward_of_the_validation_file_and_not_its_loss() -> None:
    logs = {"eval_loss": 0.0, "eval_reward": 0.75}
    assert metrics.validated("reinforcement", logs) == {"valid_reward_mean": 0.75, "full_valid_reward_mean": 0.75}


def test_the_history_of_a_run_has_the_numbers_that_were_told() -> None:
    logs = [{"loss": 0.5, "step": 1}, {"loss": 0.25, "step": 2}, {"eval_loss": 0.75, "step": 2}]
    summary = {"train_runtime": 3.0, "train_loss": 0.3, "step": 2}
    assert metrics.history("supervised", [*logs, summary]) == {
        1: {"train_loss": 0.5},
        2: {"train_loss": 0.25, "valid_loss": 0.75, "full_valid_loss": 0.75},
    }
