"""Specs built on what other specs produce."""

from __future__ import annotations

from typing import Any

import pytest
from plan_support import A, B, C, acts, checkpoint, find, job, plan, spec

from reconciler.api.types import Checkpoint
from reconciler.observe.state import ObservedJob
from reconciler.plan.chain import best_checkpoint
from reconciler.plan.model import Action, Plan
from reconciler.plan.planner import Options
from reconciler.spec.desired import Adopt, Upstream

BASE, NEXT = spec("base", A), spec("next", B, model=Upstream("base"))
STEPS = (checkpoint(10, valid_loss=0.5), checkpoint(20, valid_loss=0.3), checkpoint(30, valid_loss=0.4))


def rewarded(step: int, train: float, valid: float | None = None, **metrics: float) -> Checkpoint:
    return checkpoint(step, train_reward_mean=train, valid_reward_mean=valid, **metrics)


def base_job(status: str, **rest: Any) -> ObservedJob:
    return job("ftjob-base", status, name="base", **rest)


def chained(status: str, checkpoint: Any = "last", **rest: Any) -> Plan:
    upstream = base_job(status, fine_tuned_model="ft:m:o:s:1")
    return plan([BASE, spec("next", B, model=Upstream("base", checkpoint))], upstream, **rest)


def test_a_chain_starts_with_its_base() -> None:
    made = plan([NEXT, BASE])
    assert acts(made) == [("create", "base", None)]
    assert find(made, "next").action is Action.WAIT
    assert find(made, "next").reason == "waits for the model of base: revision aaaaaaaa"


@pytest.mark.parametrize("status", ["queued", "running", "paused", "hibernating"])
def test_a_chain_waits_for_its_bases_job(status: str) -> None:
    made = chained(status)
    assert find(made, "next").reason.startswith(f"waits for the model of base: ftjob-base is {status}")


def test_a_chain_goes_on_with_the_last_model() -> None:
    assert find(chained("succeeded"), "next").model == "ft:m:o:s:1"


def test_a_chain_goes_on_with_the_best_checkpoint_and_says_which() -> None:
    change = find(chained("succeeded", "best", checkpoints={"ftjob-base": STEPS}), "next")
    assert change.model == "ft:m:o:s:1:ckpt-step-20"
    assert change.notes == ("best checkpoint of base: step 20, lowest validation loss 0.3",)


def test_a_chain_goes_on_with_the_checkpoint_that_is_rewarded_most_and_says_so() -> None:
    steps = (rewarded(10, 0.2, full_valid_reward_mean=0.3), rewarded(20, 0.3, full_valid_reward_mean=0.25))
    change = find(chained("succeeded", "best", checkpoints={"ftjob-base": steps}), "next")
    assert change.model == "ft:m:o:s:1:ckpt-step-10"
    assert change.notes == ("best checkpoint of base: step 10, highest validation reward 0.3",)


def test_a_chain_goes_on_with_the_checkpoint_at_a_step() -> None:
    change = find(chained("succeeded", 30, checkpoints={"ftjob-base": STEPS}), "next")
    assert change.model == "ft:m:o:s:1:ckpt-step-30"


@pytest.mark.parametrize(
    ("which", "steps", "words"),
    [
        (25, STEPS, "no checkpoint at step 25; it has 10, 20, 30"),
        (25, (), "no checkpoint at step 25; it has none"),
        ("best", (), "no checkpoint of ftjob-base shows a reward or a loss"),
        ("best", (checkpoint(10),), "no checkpoint of ftjob-base shows a reward or a loss"),
    ],
)
def test_a_chain_whose_checkpoint_is_missing_is_blocked(which: Any, steps: Any, words: str) -> None:
    change = find(chained("succeeded", which, checkpoints={"ftjob-base": steps}), "next")
    assert change.action is Action.BLOCKED
    assert words in change.reason


def test_a_base_that_succeeded_without_a_model_blocks() -> None:
    change = find(plan([BASE, NEXT], base_job("succeeded")), "next")
    assert change.action is Action.BLOCKED
    assert "succeeded but names no model" in change.reason


@pytest.mark.parametrize(("status", "error"), [("failed", "bad data"), ("cancelled", None)])
def test_a_base_that_ended_badly_blocks_what_is_built_on_it(status: str, error: str | None) -> None:
    change = find(plan([BASE, NEXT], base_job(status, error_message=error)), "next")
    assert change.action is Action.BLOCKED
    assert f"its base base has no model: ftjob-base {status}" in change.reason
    assert (error or "") in change.reason


def test_a_base_that_is_retried_is_waited_for() -> None:
    specs = [spec("base", A, retry_limit=1), NEXT]
    made = plan(specs, base_job("failed", error_code="timeout"))
    assert acts(made) == [("create", "base", None)]
    assert find(made, "next").action is Action.WAIT


def test_a_base_whose_retry_waits_is_waited_for() -> None:
    specs = [spec("base", A, retry_limit=1, replace="wait"), NEXT]
    failed, old = base_job("failed", error_code="timeout"), job("ftjob-old", name="base", revision=C)
    assert find(plan(specs, failed, old), "next").action is Action.WAIT


@pytest.mark.parametrize(
    ("base", "action", "words"),
    [
        (spec("base", state="paused"), Action.WAIT, "waits for the model of base: the spec says paused"),
        (spec("base", state="cancelled"), Action.WAIT, "waits for the model of base: the spec says cancelled"),
        (spec("base", adopt=Adopt("ftjob-x", A)), Action.BLOCKED, "its base has no model: base: adopts ftjob-x"),
    ],
)
def test_a_base_without_a_job_says_why(base: Any, action: Action, words: str) -> None:
    change = find(plan([base, NEXT]), "next")
    assert change.action is action
    assert words in change.reason


def test_a_base_that_is_left_out_is_said_to_be() -> None:
    made = plan([BASE, NEXT], options=Options(targets=("next",)))
    assert [c.name for c in made.changes] == ["next"]
    assert made.changes[0].reason.endswith("which this plan leaves out")


def test_a_change_upstream_reaches_everything_built_on_it() -> None:
    before = [base_job("succeeded", fine_tuned_model="ft:old"), job("ftjob-next", "succeeded", name="next", revision=B)]
    made = plan([spec("base", C), spec("next", "e" * 16, model=Upstream("base"))], *before)
    assert acts(made) == [("create", "base", None)]
    assert find(made, "next").action is Action.WAIT


def test_a_job_that_exists_does_not_ask_for_its_base_again() -> None:
    made = plan([BASE, NEXT], base_job("failed"), job("ftjob-next", "succeeded", name="next", revision=B))
    assert find(made, "next").reason == "converged"


def test_a_chain_of_three_waits_link_by_link() -> None:
    last = spec("last", C, model=Upstream("next"))
    made = plan([last, NEXT, BASE], base_job("succeeded", fine_tuned_model="ft:1"))
    assert acts(made) == [("create", "next", None)]
    assert find(made, "last").action is Action.WAIT


def test_a_cascade_is_shown_in_the_order_in_which_it_would_run() -> None:
    first, second, third = spec("z", A), spec("m", B, model=Upstream("z")), spec("a", C, model=Upstream("m"))
    beside = spec("n", "d" * 16, model=Upstream("z"))
    made = plan([third, second, beside, first])
    assert [(change.action.value, change.name) for change in made.changes] == [
        ("create", "z"), ("wait", "m"), ("wait", "n"), ("wait", "a"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "best", "words"),
    [
        ([checkpoint(1, train_loss=1.0), checkpoint(2, train_loss=0.5)], 2, "lowest training loss"),
        ([checkpoint(1, valid_loss=0.5), checkpoint(2, valid_loss=0.5)], 2, "lowest validation loss"),
        ([checkpoint(1, train_loss=0.1), checkpoint(2, valid_loss=0.9)], 2, "lowest validation loss"),
        ([checkpoint(1, valid_loss=0.1), checkpoint(2, full_valid_loss=0.9)], 2, "lowest validation loss"),
        ([checkpoint(1, valid_loss=float("nan")), checkpoint(2, valid_loss=3.0)], 2, "lowest validation loss"),
        ([checkpoint(1, valid_loss=float("inf"), train_loss=2.0)], 1, "lowest training loss"),
        ([rewarded(1, 0.9, valid_loss=0.5), rewarded(2, 0.4, valid_loss=0.0)], 1, "highest training reward"),
        ([rewarded(1, 0.5), rewarded(2, 0.5)], 2, "highest training reward"),
        ([rewarded(1, 0.9, 0.2), rewarded(2, 0.1, 0.3)], 2, "highest validation reward"),
        ([rewarded(1, 0.9, 0.9), rewarded(2, 0.1, full_valid_reward_mean=0.3)], 2, "highest validation reward"),
        ([rewarded(1, float("nan"), train_loss=2.0)], 1, "lowest training loss"),
        ([rewarded(1, -2.0), rewarded(2, -3.0)], 1, "highest training reward"),
    ],
)
def test_the_best_checkpoint_has_the_highest_reward_else_the_lowest_loss(steps: Any, best: int, words: str) -> None:
    chosen = best_checkpoint(steps)
    assert chosen
    assert (chosen[0].step_number, chosen[2]) == (best, words)
