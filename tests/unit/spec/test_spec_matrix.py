"""A matrix: readable, stable, unique names, and the values where they belong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spec_support import Write, desired, spec

from reconciler.spec.matrix import MatrixError, expand


def names(matrix: dict[str, list[Any]], name: str = "a") -> list[str]:
    return [variant.raw["name"] for variant in expand({"name": name, "matrix": matrix})]


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ({"hyperparameters.n_epochs": [1, 2, 3]}, ["a-1", "a-2", "a-3"]),
        ({"hyperparameters.learning_rate_multiplier": [0.5, 2.0, 1e-05]}, ["a-0.5", "a-2", "a-1e-05"]),
        ({"seed": [1, 2], "hyperparameters.batch_size": ["auto", 8]}, ["a-auto-1", "a-auto-2", "a-8-1", "a-8-2"]),
        ({"training_file": ["data/Easy Rows.jsonl", "data/hard.jsonl"]}, ["a-easy-rows", "a-hard"]),
        ({"model": [{"job": "b", "checkpoint": "best"}, "gpt-4.1"]}, ["a-b-best", "a-gpt-4.1"]),
        ({"protect": [True, False], "suffix": [None]}, ["a-true-none", "a-false-none"]),
        ({"permissions": [["proj_a", "proj_b"]]}, ["a-proj-a-proj-b"]),
        ({"suffix": ["\u65e5\u672c"]}, ["a-cf2abf0c"]),
    ],
)
def test_names_are_made_of_the_values(matrix: dict[str, list[Any]], expected: list[str]) -> None:
    assert names(matrix) == expected


def test_a_spec_without_matrix_is_itself() -> None:
    [variant] = expand({"name": "a", "matrix": None})
    assert (variant.raw, variant.choices) == ({"name": "a"}, ())


def test_a_matrix_sets_and_overrides_fields_and_keeps_their_neighbours(write: Write) -> None:
    lines = ("seed: 1", "hyperparameters: {n_epochs: 9, batch_size: 4}")
    jobs = desired(
        write({"a.yaml": spec("a", *lines, "matrix: {hyperparameters.n_epochs: [1, 2], metadata.kind: [x]}")})
    )
    assert {name: job.method["supervised"]["hyperparameters"] for name, job in jobs.items()} == {
        "a-1-x": {"batch_size": 4, "n_epochs": 1},
        "a-2-x": {"batch_size": 4, "n_epochs": 2},
    }
    assert jobs["a-1-x"].metadata == {"kind": "x"}


def test_the_create_body_takes_a_matrix_too(write: Write) -> None:
    body = "method: {type: supervised}"
    flat = desired(write({"a.yaml": spec("a", "matrix: {hyperparameters.n_epochs: [1]}")}))
    whole = desired(write({"a.yaml": spec("a", body, "matrix: {method.supervised.hyperparameters.n_epochs: [1]}")}))
    assert flat["a-1"].revision == whole["a-1"].revision


def test_what_a_matrix_gives_need_not_be_given_beside_it(write: Write) -> None:
    text = "name: a\ntraining_file: data/train.jsonl\nmatrix: {model: [m, n]}\n"
    assert {n: j.model for n, j in desired(write({"a.yaml": text})).items()} == {"a-m": "m", "a-n": "n"}


@given(
    st.dictionaries(
        st.sampled_from(["seed", "suffix", "hyperparameters.n_epochs", "hyperparameters.batch_size"]),
        st.lists(st.integers(0, 99) | st.sampled_from(["x", "y z", 0.5]), min_size=1, max_size=4, unique_by=str),
        min_size=1,
    ),
    st.randoms(),
)
def test_names_are_unique_and_the_order_of_keys_never_matters(matrix: dict[str, list[Any]], random: Any) -> None:
    keys = list(matrix)
    random.shuffle(keys)
    try:
        made = names(matrix)
    except MatrixError as error:
        assert "both named" in error.message  # noqa: PT017 - values that read the same: x-y beside x, y
        return
    assert made == names({key: matrix[key] for key in keys})
    assert len(set(made)) == len(made)
