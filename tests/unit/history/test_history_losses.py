"""Losses become curves, whatever a server measured."""

from __future__ import annotations

import math
from typing import Any

import pytest

from reconciler.history.losses import MOST_POINTS, Losses, _recall, measured


def test_curves_are_in_order_and_the_first_row_of_a_step_counts() -> None:
    rows: list[dict[str, Any]] = [
        {"step": 2, "train_loss": 1.0, "valid_loss": 3.0},
        {"step": 1, "train_loss": 2.0},
        {"step": 2, "train_loss": 9.0, "valid_loss": 9.0},
    ]
    found = measured(rows)
    assert found == Losses(((1, 2.0), (2, 1.0)), ((2, 3.0),), 3.0)
    assert found.final_train == 1.0


@pytest.mark.parametrize("odd", [None, "1", True, math.nan, math.inf, 10**400, [1]])
def test_what_is_no_number_is_no_point(odd: object) -> None:
    assert measured([{"step": odd, "train_loss": 1.0}, {"step": 1, "train_loss": odd}]) == Losses()
    assert measured([]).final_train is None


def test_the_curve_is_what_was_measured_more_often_and_the_last_figure_that_of_the_whole_file() -> None:
    rows = [{"step": n, "valid_loss": 2.0} for n in range(5)] + [{"step": 4, "full_valid_loss": 1.5}]
    found = measured(rows)
    assert (len(found.valid), found.final_valid) == (5, 1.5)


@pytest.mark.parametrize("count", [1, MOST_POINTS, MOST_POINTS + 1, 5000])
def test_long_curves_keep_their_ends(count: int) -> None:
    curve = measured([{"step": n, "train_loss": float(n)} for n in range(count)]).train
    assert len(curve) == min(count, MOST_POINTS)
    assert (curve[0], curve[-1]) == ((0, 0.0), (count - 1, count - 1))
    assert len(set(curve)) == len(curve)


@pytest.mark.parametrize(
    "stored",
    [
        None,
        {},
        [],
        {"train": [[1]], "valid": [], "final_valid": None},
        {"train": [["a", 1]], "valid": [], "final_valid": None},
        {"train": [1], "valid": [], "final_valid": None},
    ],
)
def test_a_damaged_memory_is_no_memory(stored: object) -> None:
    assert _recall(stored) is None
