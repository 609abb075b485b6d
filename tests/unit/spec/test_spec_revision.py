"""The format of a revision is a promise: these digests stand in the metadata of jobs that were paid for."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.spec.desired import DataFile
from reconciler.spec.revision import chained, revision

DATA = DataFile("data/train.jsonl", "ab" * 32, 100, 10)
SUPERVISED = {"type": "supervised"}
GRADED = {
    "type": "reinforcement",
    "reinforcement": {
        "grader": {
            "type": "string_check",
            "name": "g",
            "input": "\u00e9",
            "reference": "{{item.a}}",
            "operation": "eq",
        },
        "response_format": {"enum": [None, True, 1.5]},
        "hyperparameters": {"n_epochs": 2, "compute_multiplier": 1.0},
    },
}


@pytest.mark.parametrize(
    ("digest", "model", "training_file", "method", "more"),
    [
        ("2704f66cfe856542", "gpt-4.1-mini-2025-04-14", DATA, SUPERVISED, {}),
        ("69ffb7d1d84ad10f", "gpt-4.1-mini-2025-04-14", "file-abc", SUPERVISED, {}),
        (
            "4f286707a83bf056",
            "m",
            DATA,
            GRADED,
            {"validation_file": DATA, "suffix": "s", "seed": 0, "rerun": "2026-11"},
        ),
        ("141cdad3b3bb99e6", chained("0123456789abcdef", "best"), DATA, SUPERVISED, {"validation_file": "file-v"}),
        ("749be4e5462a472e", chained("0123456789abcdef", 7), DATA, SUPERVISED, {}),
    ],
)
def test_a_revision_never_changes(digest: str, model: Any, training_file: Any, method: Any, more: Any) -> None:
    assert revision(model, training_file, method, **more) == digest, (
        "A revision that changes buys every user's models once more. Do not update this digest: "
        "bring the old one back, or add a new version beside it."
    )


def test_the_format_is_the_one_that_is_written_down() -> None:
    text = (
        '{"method":{"dpo":{"hyperparameters":{"beta":0.5,"n_epochs":1}},"type":"dpo"},"model":"m","rerun":"\\u00e9",'
        f'"seed":7,"suffix":"s","training_file":"sha256:{DATA.digest}","v":1,"validation_file":"id:file-v"}}'
    )
    method = {"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 1.0, "beta": 0.5}}}
    given = revision("m", DATA, method, validation_file="file-v", suffix="s", seed=7, rerun="\u00e9")
    assert given == hashlib.sha256(text.encode()).hexdigest()[:16]


def settings(n: float, rate: float) -> dict[str, Any]:
    return {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": n, "learning_rate_multiplier": rate}}}


@pytest.mark.parametrize(
    ("one", "other"), [(settings(1, 1), settings(1.0, 1.0)), (settings(3, 0.5), settings(3.0, 5e-1))]
)
def test_the_same_number_is_the_same_setting(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert revision("m", DATA, one) == revision("m", DATA, other)


def test_a_path_is_no_part_of_a_revision_and_content_is() -> None:
    moved = DataFile("elsewhere.jsonl", DATA.digest, DATA.size, DATA.rows)
    edited = DataFile(DATA.path, "cd" * 32, DATA.size, DATA.rows)
    assert revision("m", DATA, SUPERVISED) == revision("m", moved, SUPERVISED) != revision("m", edited, SUPERVISED)


PARTS = st.fixed_dictionaries(
    {},
    optional={
        "validation_file": st.sampled_from(["file-a", "file-b", DATA]),
        "suffix": st.sampled_from(["a", "b", "1"]),
        "seed": st.integers(0, 2),
        "rerun": st.sampled_from(["a", "b", "1"]),
    },
)


@given(PARTS, PARTS)
def test_different_settings_have_different_revisions(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = revision("m", DATA, SUPERVISED, **one) == revision("m", DATA, SUPERVISED, **other)
    assert same is (one == other)


def test_an_upstream_differs_from_a_model_of_its_name() -> None:
    digest = "0123456789abcdef"
    models: list[Any] = [digest, chained(digest, "last"), chained(digest, "best"), chained(digest, 1)]
    assert len({revision(model, DATA, SUPERVISED) for model in models}) == len(models)


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        revision("m", DATA, settings(1, float("nan")))
