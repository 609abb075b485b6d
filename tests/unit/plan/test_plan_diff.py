"""What a new revision changes, field by field, and what is no difference at all."""

from __future__ import annotations

from typing import Any

import pytest
from plan_support import DATA, B, C, checkpoint, find, job, only, plan, spec

from reconciler.observe.ownership import NAME, OWNER, REVISION
from reconciler.observe.state import FileInfo
from reconciler.plan.model import Difference
from reconciler.spec.desired import Desired, Upstream

SAME = FileInfo(f"train.{'d' * 16}.jsonl", 4000)
OTHER = FileInfo(f"train.{'e' * 16}.jsonl", 1234567)
GRADER = {"type": "string_check", "name": "g", "input": "{{sample.output_text}}", "reference": "x", "operation": "eq"}


def supervised(**numbers: Any) -> dict[str, Any]:
    return {"type": "supervised", "supervised": {"hyperparameters": numbers}}


def reinforcement(grader: Any, **more: Any) -> dict[str, Any]:
    return {"type": "reinforcement", "reinforcement": {"grader": grader, **more}}


def differences(new: Desired, files: dict[str, FileInfo] | None = None, **old: Any) -> list[tuple[Any, ...]]:
    facts = {"revision": B, "training_file": "file-1", "method": supervised(), **old}
    made = plan(new, job("ftjob-old", "succeeded", **facts), files=files or {"file-1": SAME})
    return [(d.field, d.old, d.new) for d in only(made).diff]


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        ({}, {}, []),
        ({"model": "gpt-4.1"}, {}, [("model", "gpt-4o-mini", "gpt-4.1")]),
        ({}, {"model": "gpt-4o-mini-2024-07-18"}, []),
        ({}, {"model": "gpt-4o-mini-0718"}, []),
        ({}, {"model": "gpt-4o-mini-audio"}, [("model", "gpt-4o-mini-audio", "gpt-4o-mini")]),
        ({"seed": 7}, {"seed": 7}, []),
        ({"seed": 7}, {"seed": 8}, [("seed", "8", "7")]),
        ({}, {"seed": 8}, []),
        ({"suffix": "b"}, {"suffix": "a"}, [("suffix", "a", "b")]),
        ({"suffix": "b"}, {"suffix": None}, []),
        (
            {"method": supervised(n_epochs=3)},
            {"method": supervised(n_epochs=2)},
            [("hyperparameters.n_epochs", "2", "3")],
        ),
        ({"method": supervised(n_epochs=3)}, {"method": supervised()}, [("hyperparameters.n_epochs", None, "3")]),
        ({"method": supervised(learning_rate_multiplier=2)}, {"method": supervised(learning_rate_multiplier=2.0)}, []),
        ({}, {"method": supervised(n_epochs=3, batch_size=4)}, []),
        (
            {"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.1}}}},
            {},
            [("method", "supervised", "dpo"), ("hyperparameters.beta", None, "0.1")],
        ),
        ({"method": {"type": "dpo"}}, {"method": {}}, [("method", None, "dpo")]),
        ({"method": reinforcement(GRADER)}, {"method": reinforcement({**GRADER, "extra": None})}, []),
        (
            {"method": reinforcement({"name": "g", "operation": "ne"})},
            {"method": reinforcement({"operation": "eq"})},
            [
                (
                    "grader",
                    '{"operation": "eq"}',
                    '{"name": "g", "operation": "ne"}',
                )
            ],
        ),
        ({"method": reinforcement({"range": [0, 1]})}, {"method": reinforcement({"range": [0, 1]})}, []),
        (
            {"method": reinforcement({"range": [0, 1]})},
            {"method": reinforcement({"range": [0, 1, 2]})},
            [("grader", '{"range": [0, 1, 2]}', '{"range": [0, 1]}')],
        ),
        (
            {"method": reinforcement({}, response_format={"type": "text"})},
            {"method": reinforcement({})},
            [("response_format", None, '{"type": "text"}')],
        ),
        ({"method": supervised(n_epochs=3)}, {"method": {"type": "supervised", "supervised": [1]}}, None),
        (
            {"method": supervised(n_epochs=3)},
            {"method": {"type": "supervised", "supervised": {"hyperparameters": 5}}},
            None,
        ),
    ],
)
def test_only_what_the_spec_states_differs(
    new: dict[str, Any], old: dict[str, Any], expected: list[tuple[Any, ...]] | None
) -> None:
    if expected is None:
        expected = [("hyperparameters.n_epochs", None, "3")]
    assert differences(spec(**new), **old) == expected


NEW_DATA = "dddddddd (40 rows, 4,000 bytes)"


@pytest.mark.parametrize(
    ("new", "files", "old_id", "expected"),
    [
        (DATA, {"file-1": SAME}, "file-1", []),
        (DATA, {"file-1": OTHER}, "file-1", [("training_file", "eeeeeeee (1,234,567 bytes)", NEW_DATA)]),
        (
            DATA,
            {"file-1": FileInfo(OTHER.name, None)},
            "file-1",
            [("training_file", "eeeeeeee", NEW_DATA)],
        ),
        (DATA, {"file-1": FileInfo("upload.jsonl", 9)}, "file-1", [("training_file", "file-1", NEW_DATA)]),
        (DATA, {"file-2": SAME}, "file-1", [("training_file", "file-1", NEW_DATA)]),
        (DATA, {"file-2": SAME}, None, [("training_file", None, NEW_DATA)]),
        ("file-1", {"file-1": SAME}, "file-1", []),
        ("file-2", {"file-1": SAME}, "file-1", [("training_file", "dddddddd (4,000 bytes)", "file-2")]),
    ],
)
def test_data_differs_by_its_content(new: Any, files: Any, old_id: str | None, expected: list[Any]) -> None:
    assert differences(spec(training_file=new), files, training_file=old_id) == expected


@pytest.mark.parametrize(
    ("old", "before"),
    [
        (OTHER, "eeeeeeee (35 rows, 1,234,567 bytes)"),
        (FileInfo(OTHER.name, None), "eeeeeeee (35 rows)"),
        (FileInfo("upload.jsonl", 9), "file-1"),
    ],
)
def test_rows_added_and_removed_are_told_where_they_were_counted(old: FileInfo, before: str) -> None:
    was = job("ftjob-old", "succeeded", revision=B, training_file="file-1")
    made = plan(spec(training_file=DATA), was, files={"file-1": old}, rows={("file-1", DATA.digest): (8, 3)})
    assert Difference("training_file", before, NEW_DATA, 8, 3) in only(made).diff


@pytest.mark.parametrize(
    ("new", "old_id", "expected"),
    [
        (None, None, []),
        (None, "file-9", [("validation_file", "file-9", None)]),
        (DATA, None, [("validation_file", None, NEW_DATA)]),
    ],
)
def test_a_validation_file_can_come_and_go(new: Any, old_id: str | None, expected: list[Any]) -> None:
    assert differences(spec(validation_file=new), validation_file=old_id) == expected


def test_the_newest_job_of_another_revision_is_compared() -> None:
    jobs = [
        job("ftjob-1", "succeeded", revision=B, created_at=1, model="oldest"),
        job("ftjob-2", "failed", revision=C, created_at=2, model="newest"),
    ]
    assert Difference("model", "newest", "gpt-4o-mini") in only(plan(spec(), *jobs)).diff


def test_the_first_revision_has_no_difference_to_show() -> None:
    assert only(plan(spec())).diff == ()


def test_a_difference_that_no_job_shows_is_explained() -> None:
    old = job("ftjob-old", "succeeded", revision=B, training_file="file-1", method=supervised())
    change = only(plan(spec(), old, files={"file-1": SAME}))
    assert change.diff == ()
    (note,) = change.notes
    assert note.startswith("ftjob-old of revision bbbbbbbb shows no difference: what changed is `rerun`, or")


@pytest.mark.parametrize("wait", [False, True])
def test_a_chained_base_shows_as_its_model_or_by_its_name(wait: bool) -> None:
    base = job("ftjob-base", "running" if wait else "succeeded", name="base", fine_tuned_model="ft:new")
    old = job("ftjob-old", "succeeded", name="next", revision=B, model="ft:old")
    made = plan([spec("base"), spec("next", C, model=Upstream("base"))], base, old)
    wanted = "base (last)" if wait else "ft:new"
    assert Difference("model", "ft:old", wanted) in find(made, "next").diff


def test_a_chained_base_by_checkpoint_shows_its_model() -> None:
    base = job("ftjob-base", "succeeded", name="base", fine_tuned_model="ft:new")
    old = job("ftjob-old", "succeeded", name="next", revision=B, model="ft:m:o:s:1:ckpt-step-5")
    steps = {"ftjob-base": (checkpoint(5, valid_loss=1.0),)}
    made = plan([spec("base"), spec("next", C, model=Upstream("base", 5))], base, old, checkpoints=steps)
    assert "model" not in {d.field for d in find(made, "next").diff}


OURS = {OWNER: "acme", NAME: "triage", REVISION: f"{'a' * 16}.1"}
WANDB = {"type": "wandb", "wandb": {"project": "p"}}


@pytest.mark.parametrize(
    ("new", "old", "notes"),
    [
        ({}, {"metadata": OURS}, ()),
        ({"metadata": {"team": "x"}}, {"metadata": {**OURS, "team": "x"}}, ()),
        ({"metadata": {"team": "y"}}, {"metadata": {**OURS, "team": "x"}}, ("metadata changed",)),
        ({}, {"metadata": {**OURS, "team": "x"}}, ("metadata changed",)),
        (
            {"integrations": (WANDB,)},
            {"integrations": ({"type": "wandb", "wandb": {"project": "p", "run_id": "1"}},)},
            (),
        ),
        ({"integrations": (WANDB,)}, {}, ("integrations changed",)),
        ({}, {"integrations": (WANDB,)}, ("integrations changed",)),
        ({}, {"model": "gpt-4o-mini-2024-07-18"}, ("gpt-4o-mini became gpt-4o-mini-2024-07-18: not drift",)),
        ({"model": Upstream("base")}, {"model": "ft:whatever"}, ()),
    ],
)
def test_labels_are_noted_and_never_buy_a_run(new: dict[str, Any], old: dict[str, Any], notes: tuple[str, ...]) -> None:
    specs = [spec(**new), spec("base", B)]
    made = plan(specs, job(**old), job("ftjob-base", name="base", revision=B))
    change = find(made, "triage")
    assert not made.has_changes
    assert len(change.notes) == len(notes)
    assert all(note.startswith(start) for note, start in zip(change.notes, notes, strict=True))
