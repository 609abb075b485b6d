"""Limits: slots, prunes, budgets, and what a plan is about at all."""

from __future__ import annotations

from typing import Any

import pytest
from plan_support import DATA, A, B, C, acts, find, job, named, only, plan, spec

from reconciler.plan.limits import estimated_tokens
from reconciler.plan.model import Action
from reconciler.plan.planner import Options
from reconciler.spec.desired import Adopt, DataFile, Upstream
from reconciler.spec.policy import Budget, MaxActive, MaxPrune, Policy


def slots(total: int | None = None, **models: int) -> Policy:
    return Policy(max_active=MaxActive(total=total, models={k.replace("_", "-"): v for k, v in models.items()}))


def other(count: int, status: str = "running", **rest: Any) -> list[Any]:
    """Return jobs of other specs, and their specs."""
    return [job(f"ftjob-o{i}", status, name=f"other{i}", revision=B, **rest) for i in range(count)]


OTHERS = [spec(f"other{i}", B) for i in range(5)]


def test_no_limit_admits_everything() -> None:
    assert len(named(plan([spec(f"s{i}") for i in range(50)]), Action.CREATE)) == 50


def test_creates_beyond_the_free_slots_wait_and_say_who_is_ahead() -> None:
    made = plan([spec("a"), spec("b", B), spec("c", C)], policy=slots(1))
    assert named(made, Action.CREATE) == ["a"]
    assert find(made, "b").reason == "waits: 1 of 1 slots in use"
    assert find(made, "c").reason == "waits: 1 of 1 slots in use; 1 ahead of it"


def test_priority_goes_first_then_the_name() -> None:
    specs = [spec("a"), spec("b", B, priority=5), spec("c", C, priority=5)]
    assert named(plan(specs, policy=slots(2)), Action.CREATE) == ["b", "c"]


@pytest.mark.parametrize("status", ["running", "queued", "validating_files", "pausing", "resuming", "hibernating"])
def test_active_jobs_hold_their_slots(status: str) -> None:
    made = plan([*OTHERS, spec()], *other(5, status), policy=slots(5))
    assert find(made, "triage").action is Action.WAIT


@pytest.mark.parametrize("status", ["paused", "succeeded", "failed", "cancelled"])
def test_paused_and_ended_jobs_hold_none(status: str) -> None:
    made = plan([*(spec(f"other{i}", B, state="paused") for i in range(5)), spec()], *other(5, status), policy=slots(1))
    assert acts(made) == [("create", "triage", None)]


def test_a_job_to_be_paused_holds_its_slot_until_it_is() -> None:
    made = plan([spec("other0", B, state="paused"), spec()], *other(1), policy=slots(1))
    assert acts(made) == [("pause", "other0", "ftjob-o0")]


def test_resumes_go_before_creates() -> None:
    made = plan([spec("a"), spec("other0", B)], *other(1, "paused"), policy=slots(1))
    assert acts(made) == [("resume", "other0", "ftjob-o0")]


def test_a_resume_without_a_free_slot_waits() -> None:
    paused = job("ftjob-p", "paused", name="p", revision=C)
    made = plan([*OTHERS[:1], spec("p", C)], *other(1), paused, policy=slots(1))
    assert (find(made, "p").action, find(made, "p").job_id) == (Action.WAIT, "ftjob-p")


def test_a_successor_takes_over_the_slot_of_its_predecessor() -> None:
    made = plan([*OTHERS[:1], spec()], *other(1), job("ftjob-old", revision=B), policy=slots(2))
    assert acts(made) == [("create", "triage", None), ("cancel", "triage", "ftjob-old")]


def test_a_slot_is_handed_over_once() -> None:
    made = plan([spec(), spec("z", C)], job("ftjob-old", revision=B), policy=slots(1))
    assert named(made, Action.CREATE) == ["triage"]


def test_a_paused_predecessor_has_no_slot_to_hand_over() -> None:
    made = plan([*OTHERS[:1], spec()], *other(1), job("ftjob-old", "paused", revision=B), policy=slots(1))
    assert acts(made) == []


def test_a_predecessor_of_another_model_hands_over_no_slot_of_this_model() -> None:
    old = job("ftjob-old", revision=B, model="gpt-4.1")
    made = plan([*OTHERS[:1], spec()], *other(1), old, policy=slots(**{"gpt-4o-mini": 1}))
    assert acts(made) == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_several_predecessors_any_hands_over_its_slot(order: tuple[int, int]) -> None:
    there = [job("ftjob-1", revision=B), job("ftjob-2", revision=B, model="gpt-4.1")]
    made = plan([spec()], *(there[i] for i in order), policy=slots(**{"gpt-4o-mini": 1}))
    assert named(made, Action.CREATE) == ["triage"]


@pytest.mark.parametrize(
    ("pattern", "model", "limited"),
    [
        ("gpt-4o-mini", "gpt-4o-mini", True),
        ("gpt-4o-mini", "gpt-4o-mini-2024-07-18", True),
        ("gpt-4o*", "gpt-4o-mini", True),
        ("gpt-4o-mini", "ft:gpt-4o-mini-2024-07-18:acme:triage:abc", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("gpt-4.1", "gpt-4o-mini", False),
    ],
)
def test_a_limit_by_model_knows_aliases_globs_and_fine_tuned_bases(pattern: str, model: str, limited: bool) -> None:
    policy = Policy(max_active=MaxActive(models={pattern: 1}))
    made = plan([*OTHERS[:1], spec(model=model)], *other(1, model=model), policy=policy)
    assert (find(made, "triage").action is Action.WAIT) is limited


def test_the_tightest_limit_decides() -> None:
    policy = Policy(max_active=MaxActive(total=5, models={"gpt-4o-mini": 1}))
    made = plan([spec("a"), spec("b", B), spec("c", C, model="gpt-4.1")], policy=policy)
    assert named(made, Action.CREATE) == ["a", "c"]
    assert "1 of 1 slots of gpt-4o-mini in use" in find(made, "b").reason


def test_adopted_jobs_hold_slots_too() -> None:
    adopting = spec("adopting", A, adopt=Adopt("ftjob-x", A))
    made = plan([adopting, spec("b", B)], adopted=[job("ftjob-x")], policy=slots(1))
    assert find(made, "b").action is Action.WAIT


def test_a_predecessor_is_kept_while_its_successor_finds_no_slot() -> None:
    old = job("ftjob-old", "paused", revision=C)
    made = plan([*OTHERS[:1], spec()], *other(1), old, policy=slots(1))
    assert named(made, Action.CANCEL) == []


# Prunes


def lost(count: int) -> list[Any]:
    return [job(f"ftjob-{i}", name=f"gone{i}", revision=B) for i in range(count)]


def kept(count: int) -> tuple[list[Any], list[Any]]:
    specs = [spec(f"kept{i}") for i in range(count)]
    return specs, [job(f"ftjob-k{i}", name=f"kept{i}") for i in range(count)]


@pytest.mark.parametrize(
    ("gone", "staying", "words"),
    [
        (1, 0, None),
        (2, 2, None),
        (10, 10, None),
        (11, 90, "11 jobs have lost their spec and would be cancelled; policy max_prune allows 10. "),
        (3, 2, "3 of 5 names we own have lost their spec"),
    ],
)
def test_prunes_are_limited_in_number_and_in_share(gone: int, staying: int, words: str | None) -> None:
    specs, jobs = kept(staying)
    unsafe = plan(specs, *jobs, *lost(gone)).unsafe
    if words is None:
        assert unsafe == ()
    else:
        assert words in unsafe[0]
        assert unsafe[0].endswith(f"pass --max-prune {gone}.")


def test_several_jobs_of_one_name_are_one_name_in_the_share() -> None:
    specs, jobs = kept(1)
    twins = [job("ftjob-1", name="gone", revision=B), job("ftjob-2", name="gone", revision=C)]
    assert plan(specs, *jobs, *twins).unsafe == ()


def test_max_prune_of_the_command_line_replaces_the_policys() -> None:
    options = Options(max_prune=MaxPrune(count=20, share=1))
    assert plan([spec()], *lost(20), options=options).unsafe == ()
    assert "21 jobs" in plan([spec()], *lost(21), options=options).unsafe[0]


def test_max_prune_of_nothing_allows_nothing() -> None:
    assert plan([spec()], *lost(1), policy=Policy(max_prune=MaxPrune(count=0))).unsafe


def test_prunes_that_the_targets_leave_out_do_not_count() -> None:
    options = Options(targets=("gone0",))
    made = plan([spec()], *lost(20), options=options)
    assert acts(made) == [("cancel", "gone0", "ftjob-0")]
    assert made.unsafe == ()


def test_replacing_is_not_pruning() -> None:
    specs = [spec(f"s{i}") for i in range(20)]
    jobs = [job(f"ftjob-{i}", name=f"s{i}", revision=B) for i in range(20)]
    made = plan(specs, *jobs)
    assert len(named(made, Action.CANCEL)) == 20
    assert made.unsafe == ()


def test_an_empty_directory_needs_its_own_flag() -> None:
    made = plan([], *lost(2), options=Options(empty=True))
    (reason,) = made.unsafe
    assert reason.startswith("the paths hold no spec, and 2 active jobs are ours: all would be cancelled.")
    assert reason.endswith("pass --allow-empty.")
    assert plan([], *lost(20), options=Options(empty=True, allow_empty=True)).unsafe == ()


def test_max_prune_given_beside_allow_empty_still_holds() -> None:
    options = Options(empty=True, allow_empty=True, max_prune=MaxPrune(count=3, share=1))
    assert "4 jobs" in plan([], *lost(4), options=options).unsafe[0]


def test_an_empty_directory_where_nothing_is_ours_is_safe() -> None:
    assert plan([], options=Options(empty=True)).unsafe == ()


# Budget


def test_a_plan_may_not_create_more_than_its_budget() -> None:
    policy = Policy(budget=Budget(creates=1))
    assert plan([spec("a")], policy=policy).unsafe == ()
    (reason,) = plan([spec("a"), spec("b", B)], policy=policy).unsafe
    assert reason.startswith("2 jobs would be created; policy budget.creates allows 1 a plan.")
    assert "--target" in reason


def test_jobs_that_still_wait_count_against_the_budget() -> None:
    policy = Policy(budget=Budget(creates=2), max_active=MaxActive(total=1))
    specs = [spec("a"), spec("b", B), spec("c", C, model=Upstream("a"))]
    (reason,) = plan(specs, policy=policy).unsafe
    assert reason.startswith("3 jobs would be created (2 of them later)")


def test_jobs_that_exist_cost_nothing() -> None:
    policy = Policy(budget=Budget(creates=0, tokens=0))
    made = plan([spec("a"), spec("p", B)], job(name="a"), job("ftjob-p", "paused", name="p", revision=B), policy=policy)
    assert made.unsafe == ()


def test_a_plan_may_not_train_on_more_tokens_than_its_budget() -> None:
    assert plan(spec(), policy=Policy(budget=Budget(tokens=3000))).unsafe == ()
    (reason,) = plan(spec(), policy=Policy(budget=Budget(tokens=2999))).unsafe
    assert "about 3,000 tokens; policy budget.tokens allows 2,999" in reason


@pytest.mark.parametrize(
    ("changes", "tokens"),
    [
        ({}, 3000),
        ({"method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}}}, 2000),
        ({"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.1}}}}, 3000),
        ({"training_file": "file-abc"}, 0),
        ({"validation_file": DataFile("v.jsonl", "e" * 64, 9000, 9)}, 3000),
    ],
)
def test_tokens_are_estimated_from_bytes_and_epochs(changes: dict[str, Any], tokens: int) -> None:
    assert DATA.size == 4000
    assert estimated_tokens(spec(**changes)) == tokens


# Targets


@pytest.mark.parametrize(
    ("targets", "excludes", "names"),
    [
        ((), (), ["a-1", "a-2", "b"]),
        (("a-*",), (), ["a-1", "a-2"]),
        (("a-1", "b"), (), ["a-1", "b"]),
        ((), ("a-*",), ["b"]),
        (("a-*",), ("a-2",), ["a-1"]),
        (("A-*",), (), []),
    ],
)
def test_targets_and_excludes_choose_by_glob(
    targets: tuple[str, ...], excludes: tuple[str, ...], names: list[str]
) -> None:
    specs = [spec("a-1"), spec("a-2", B), spec("b", C)]
    made = plan(specs, options=Options(targets=targets, excludes=excludes))
    assert [c.name for c in made.changes] == names


def test_a_job_outside_the_targets_still_holds_its_slot() -> None:
    made = plan([*OTHERS[:1], spec()], *other(1), policy=slots(1), options=Options(targets=("triage",)))
    assert only(made).action is Action.WAIT
