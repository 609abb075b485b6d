"""Which job counts for a spec: its own, an adopted one, that of a renamed spec."""

from __future__ import annotations

from itertools import permutations

import pytest
from plan_support import OPTIONS, A, B, C, acts, find, job, named, only, plan, spec

from reconciler.observe.state import counting
from reconciler.plan.model import Action
from reconciler.plan.planner import Options
from reconciler.spec.desired import Adopt

ADOPT = Adopt("ftjob-x", A)


@pytest.mark.parametrize(
    ("jobs", "counts"),
    [
        ([("1", 1, "failed", 5), ("2", 2, "running", 6)], "2"),
        ([("1", 2, "cancelled", 5), ("2", 1, "succeeded", 6)], "2"),
        ([("1", 2, "running", 5), ("2", 1, "succeeded", 6)], "2"),
        ([("1", 2, "failed", 5), ("2", 1, "running", 6)], "2"),
        ([("1", 2, "cancelled", 5), ("2", 1, "failed", 6)], "1"),
        ([("1", 2, "succeeded", 6), ("2", 1, "succeeded", 5)], "1"),
        ([("1", 1, "running", 5), ("2", 1, "succeeded", 6)], "2"),
        ([("1", 1, "failed", 5), ("2", 1, "under_review", 6)], "2"),
        ([("1", 1, "running", 6), ("2", 1, "running", 5)], "2"),
        ([("1", 1, "running", 5), ("2", 1, "running", 5)], "1"),
        ([("1", 1, "cancelled", 5), ("2", 1, "running", 6)], "2"),
        ([("1", 1, "cancelled", 6), ("2", 1, "cancelled", 5)], "2"),
        ([("1", 1, "failed", 5), ("2", 1, "succeeded", 6)], "2"),
        ([("1", 1, "failed", 6), ("2", 1, "cancelled", 5)], "1"),
    ],
)
def test_the_job_that_counts(jobs: list[tuple[str, int, str, int]], counts: str) -> None:
    made = [job(i, status, attempt=attempt, created_at=at) for i, attempt, status, at in jobs]
    for order in permutations(made):
        chosen = counting(order)
        assert chosen
        assert chosen.id == counts


def test_no_job_counts_where_there_is_none() -> None:
    assert counting([]) is None


@pytest.mark.parametrize("status", ["succeeded", "running", "paused", "failed"])
def test_a_renamed_spec_keeps_its_job(status: str) -> None:
    made = plan(spec("new"), job(name="old", status=status))
    change = only(made)
    assert (change.name, change.job_id) == ("new", "ftjob-1")
    assert change.action not in {Action.CREATE, Action.CANCEL}
    assert "was made as old" in change.notes[-1]


def test_a_renamed_spec_of_a_cancelled_job_starts_afresh() -> None:
    assert acts(plan(spec("new"), job(name="old", status="cancelled"))) == [("create", "new", None)]


def test_a_job_whose_name_still_has_a_spec_is_not_taken_by_another() -> None:
    made = plan([spec("a", B), spec("b", A)], job(name="a", revision=A))
    assert named(made, Action.CREATE) == ["a", "b"]


def test_two_renamed_specs_of_one_revision_keep_a_job_each() -> None:
    made = plan([spec("x"), spec("y")], job("1", name="old-1"), job("2", name="old-2", created_at=101))
    assert acts(made) == []
    assert {find(made, "x").job_id, find(made, "y").job_id} == {"1", "2"}


def test_an_earlier_attempt_is_not_kept_for_a_second_spec() -> None:
    jobs = [job("1", "failed", name="old", attempt=1), job("2", "succeeded", name="old", attempt=2)]
    made = plan([spec("x"), spec("y")], *jobs)
    assert find(made, "x").job_id == "2"
    assert acts(made) == [("create", "y", None)]


@pytest.mark.parametrize("own", ["failed", "cancelled"])
@pytest.mark.parametrize(("before", "counts"), [("succeeded", "2"), ("running", "2"), ("failed", "1")])
def test_a_job_under_an_earlier_name_takes_the_place_of_one_that_came_to_nothing(
    own: str, before: str, counts: str
) -> None:
    jobs = [job("1", own, name="new", error_code="server_error"), job("2", before, name="old", created_at=101)]
    made = plan(spec("new", retry_limit=0), *jobs)
    assert acts(made) == []
    assert find(made, "new").job_id == counts


def test_a_job_under_an_earlier_name_goes_first_to_a_spec_that_has_none() -> None:
    jobs = [job("1", "failed", name="a", error_code="bad_data"), job("2", "succeeded", name="old", created_at=101)]
    made = plan([spec("a"), spec("b")], *jobs)
    assert acts(made) == []
    assert (find(made, "a").job_id, find(made, "b").job_id) == ("1", "2")


def test_a_second_job_of_a_renamed_spec_is_pruned() -> None:
    made = plan(spec("new"), job("1", name="old"), job("2", name="old", created_at=101))
    assert acts(made) == [("cancel", "old", "2")]


def test_a_failed_job_of_a_renamed_spec_is_retried_under_the_new_name() -> None:
    made = plan(spec("new", retry_limit=1), job(name="old", status="failed", error_code="timeout"))
    change = only(made)
    assert (change.action, change.name, change.attempt) == (Action.CREATE, "new", 2)


def test_an_adopted_job_counts() -> None:
    made = plan(spec(adopt=ADOPT), adopted=[job("ftjob-x", "succeeded", metadata={})])
    assert (only(made).action, only(made).job_id) == (Action.NONE, "ftjob-x")


def test_an_adopted_job_is_paused_like_any_other() -> None:
    made = plan(spec(adopt=ADOPT, state="paused"), adopted=[job("ftjob-x")])
    assert acts(made) == [("pause", "triage", "ftjob-x")]


def test_an_adopted_job_no_longer_counts_for_a_new_revision() -> None:
    made = plan(spec(revision=B, adopt=ADOPT), adopted=[job("ftjob-x", "succeeded")])
    assert acts(made) == [("create", "triage", None)]


def test_a_job_to_adopt_that_is_not_there_is_never_bought_anew() -> None:
    change = only(plan(spec(adopt=ADOPT)))
    assert change.action is Action.BLOCKED
    assert "ftjob-x" in change.reason
    assert "remove `adopt`" in change.reason


def test_a_job_of_its_own_counts_before_the_adopted_one() -> None:
    made = plan(spec(adopt=ADOPT), job(status="succeeded"), adopted=[job("ftjob-x", "succeeded")])
    assert only(made).job_id == "ftjob-1"


def test_one_job_counts_for_one_spec_only() -> None:
    made = plan(
        [spec("a", adopt=ADOPT, state="paused"), spec("b", adopt=ADOPT, state="cancelled"), spec("c", adopt=ADOPT)],
        adopted=[job("ftjob-x")],
    )
    assert acts(made) == [("pause", "a", "ftjob-x")]
    assert find(made, "c").action is Action.BLOCKED


@pytest.mark.parametrize("replace", ["cancel", "wait"])
def test_a_job_adopted_from_another_spec_of_ours_is_no_predecessor_there(replace: str) -> None:
    shared = job("ftjob-x", name="b", revision=C)
    made = plan([spec("a", adopt=ADOPT), spec("b", B, replace=replace)], shared, adopted=[shared])
    assert acts(made) == [("create", "b", None)]
    assert find(made, "a").job_id == "ftjob-x"


@pytest.mark.parametrize("status", ["failed", "cancelled"])
@pytest.mark.parametrize("options", [OPTIONS, Options(recreate=frozenset({"triage"}))])
def test_an_adopted_job_that_came_to_nothing_hides_no_model_of_its_revision(status: str, options: Options) -> None:
    renamed = job("ftjob-old", "succeeded", name="earlier", fine_tuned_model="ft:m")
    change = only(plan(spec(adopt=ADOPT), renamed, adopted=[job("ftjob-x", status)], options=options))
    assert (change.action, change.job_id, change.reason) == (Action.NONE, "ftjob-old", "converged")


def test_a_failed_adopted_job_is_retried_as_one_of_ours() -> None:
    failed = job("ftjob-x", "failed", error_code="server_error")
    change = only(plan(spec(adopt=ADOPT, retry_limit=1), adopted=[failed]))
    assert (change.action, change.attempt) == (Action.CREATE, 2)
