"""The state machine and the rules that fill in what was left open."""

from __future__ import annotations

from itertools import pairwise

import pytest

from reconciler.api.types import MethodType
from reconciler.server import lifecycle
from reconciler.server.lifecycle import Refused, Verb

STATUSES = ("validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled")
BY_REQUEST: dict[tuple[str, Verb], str] = {
    ("validating_files", "cancel"): "cancelled",
    ("queued", "cancel"): "cancelled",
    ("running", "cancel"): "cancelled",
    ("paused", "cancel"): "cancelled",
    ("running", "pause"): "paused",
    ("paused", "resume"): "queued",
}
VERBS: tuple[Verb, ...] = ("cancel", "pause", "resume")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("status", STATUSES)
def test_a_request_moves_a_job_as_the_table_says_or_is_refused(status: str, verb: Verb) -> None:
    expected = BY_REQUEST.get((status, verb))
    if expected:
        assert lifecycle.act(status, verb) == expected
    else:
        with pytest.raises(Refused, match=f"The job is {status}, so it cannot be {verb.removesuffix('e')}"):
            lifecycle.act(status, verb)


def test_a_refused_pause_says_which_jobs_can_be_paused() -> None:
    with pytest.raises(Refused, match="only a running job can be paused"):
        lifecycle.act("queued", "pause")


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_the_engine_moves_no_job_that_has_ended(status: str) -> None:
    for following in STATUSES:
        with pytest.raises(Refused):
            lifecycle.advance(status, following)


def test_the_engine_moves_a_good_job_from_its_check_to_its_model() -> None:
    path = ["validating_files", "queued", "running", "succeeded"]
    for status, following in pairwise(path):
        assert lifecycle.advance(status, following) == following


@pytest.mark.parametrize(
    ("rows", "epochs"), [(1, 25), (4, 25), (10, 10), (33, 3), (34, 3), (200, 3), (8333, 3), (9000, 2), (100_000, 1)]
)
def test_auto_epochs_show_few_rows_more_often(rows: int, epochs: int) -> None:
    assert lifecycle.auto_epochs(rows) == epochs


@pytest.mark.parametrize(("rows", "size"), [(10, 1), (99, 1), (200, 4), (12_800, 256), (1_000_000, 256)])
def test_an_auto_batch_makes_about_fifty_steps_an_epoch(rows: int, size: int) -> None:
    assert lifecycle.auto_batch_size(rows) == size


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("supervised", {"n_epochs", "batch_size", "learning_rate_multiplier"}),
        ("dpo", {"n_epochs", "batch_size", "learning_rate_multiplier", "beta"}),
        (
            "reinforcement",
            {
                "n_epochs", "batch_size", "learning_rate_multiplier", "reasoning_effort", "compute_multiplier",
                "eval_interval", "eval_samples",
            },
        ),
    ],
)  # fmt: skip
def test_every_auto_becomes_a_value_and_what_was_given_stays(method: MethodType, names: set[str]) -> None:
    open_ones = lifecycle.unresolved(method, {"n_epochs": 7, "batch_size": None})
    resolved = lifecycle.resolve(method, open_ones, rows=200)
    assert set(resolved) == names
    assert resolved["n_epochs"] == 7
    assert resolved["batch_size"] == 4
    assert "auto" not in resolved.values()


@pytest.mark.parametrize(
    ("name", "plausible"),
    [
        ("gpt-4o-mini-2024-07-18", True),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", True),
        ("simulated-slow", True),
        ("ft:gpt-4o-mini-2024-07-18:local::abcd1234", False),
        ("", False),
        ("-x", False),
        ("a b", False),
        ("a\n", False),
        ("../x\0", False),
        ("x" * 201, False),
    ],
)
def test_base_models_have_plausible_names(name: str, plausible: bool) -> None:
    assert lifecycle.is_base_name(name) is plausible


@pytest.mark.parametrize(
    ("base", "suffix", "name"),
    [
        ("gpt-4.1-2025-04-14", "Triage v2", "ft:gpt-4.1-2025-04-14:local:triage-v2:zyxwvuts"),
        ("gpt-4.1-2025-04-14", None, "ft:gpt-4.1-2025-04-14:local::zyxwvuts"),
        ("gpt-4.1-2025-04-14", "a:b:c", "ft:gpt-4.1-2025-04-14:local:a-b-c:zyxwvuts"),
        ("gpt-4.1-2025-04-14", "été", "ft:gpt-4.1-2025-04-14:local:t:zyxwvuts"),
        ("ft:gpt-4.1-2025-04-14:local:one:abcdefgh", "two", "ft:gpt-4.1-2025-04-14:local:two:zyxwvuts"),
        ("ft:gpt-4.1-2025-04-14:local:one:abcdefgh:ckpt-step-9", "two", "ft:gpt-4.1-2025-04-14:local:two:zyxwvuts"),
    ],
)
def test_a_model_is_named_by_its_root_its_suffix_and_its_job(base: str, suffix: str | None, name: str) -> None:
    assert lifecycle.model_name(base, suffix, "ftjob-AAAAzyxwvuts") == name


def test_a_checkpoint_is_named_by_its_step() -> None:
    assert lifecycle.checkpoint_name("ft:m:local::x", 88) == "ft:m:local::x:ckpt-step-88"
