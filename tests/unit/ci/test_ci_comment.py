"""The comment and the summary: what they hold, what is cut, and what the next run reads back."""

from __future__ import annotations

import pytest

from reconciler.ci.comment import Earlier, comment, earlier_runs, is_marked, marker
from reconciler.ci.finished import Finished, Trained
from reconciler.ci.summary import LARGEST, summary
from reconciler.ci.surroundings import Surroundings
from reconciler.errors import Problem, SpecError, UnsafePlan
from reconciler.history.losses import Losses
from reconciler.observe.state import ObservedJob
from reconciler.plan.drift import Drift
from reconciler.plan.model import Access, Action, Change, Difference, Plan

WORST = "@😀|" * 150
JOB = ObservedJob(
    WORST, WORST, WORST, 1, WORST, 0,
    integrations=({"wandb": {"entity": WORST, "project": WORST, "run_id": WORST}},) * 9,
)  # fmt: skip
DIFF = tuple(Difference(f"{WORST}{i}", WORST, WORST) for i in range(4))


def around(digit: str) -> Surroundings:
    return Surroundings(commit=digit * 40)


def finished(*changes: Change, **more: object) -> Finished:
    plan = Plan.of("o", "s", changes)
    return Finished(command="plan", owner="o", plan=plan, **more)  # type: ignore[arg-type]


def many(count: int) -> Plan:
    changes = [Change(f"{WORST}{i}", a, WORST, WORST, "r" * 64, 1, DIFF, notes=(WORST,) * 3)
               for i in range(count) for a in (Action.CREATE, Action.BLOCKED)]  # fmt: skip
    access = [Access(f"{WORST}{i}", WORST, (WORST,) * 3) for i in range(count)]
    return Plan.of(WORST, WORST, changes, [WORST] * count, [WORST] * count, access)


ENDLESS = [
    Finished(command="plan", owner=WORST, plan=many(50)),
    Finished(command="plan", owner=WORST, plan=many(50), error=SpecError([], hint=WORST)),
    Finished(command="validate", owner=WORST, error=SpecError([Problem(WORST, n, 1, WORST) for n in range(500)])),
    Finished(command="plan", owner=WORST, error=SpecError([], hint=WORST * 20)),
    Finished(command="plan", owner=WORST, error=UnsafePlan("\n".join([WORST] * 300), hint=WORST * 20)),
    Finished(command="plan", owner=WORST, plan=many(50), offline=WORST, settings=DIFF * 200),
    Finished(command="drift", owner=WORST, drift=(Drift(WORST, WORST, "running", WORST, WORST),) * 300),
    Finished(command="apply", owner=WORST, plan=many(50), problems=(WORST,) * 300, models={WORST: WORST} | {
        f"{i}{WORST}": WORST for i in range(300)}, trained=(Trained(WORST, JOB, Losses()),) * 300),
]  # fmt: skip


@pytest.mark.parametrize("run", ENDLESS, ids=range(len(ENDLESS)))
def test_no_comment_and_no_summary_is_over_its_limit(run: Finished) -> None:
    text = comment(run, around("a"))
    assert len(text.encode("utf-16-le")) // 2 <= 65_536
    assert len(summary(run, [WORST] * 40).encode()) <= LARGEST


def test_the_marker_is_one_for_each_owner_and_environment() -> None:
    assert len({marker("a", None), marker("a", "b"), marker("a@b", None), marker("b", "a")}) == 4
    assert marker("-->", "<").count(">") == 1


def test_a_quoted_marker_marks_nothing() -> None:
    mark = marker("o", None)
    assert is_marked(f"{mark}\nplan", mark)
    assert not is_marked(f"> {mark}\nplan", mark)
    assert not is_marked(f"see\n{mark}", mark)


def test_earlier_runs_are_listed_newest_first_and_at_most_ten() -> None:
    text = ""
    for digit in "0123456789abcde":
        text = comment(finished(Change("x", Action.CREATE, "r")), around(digit), text)
    assert [run.commit[0] for run in earlier_runs(text)] == list("edcba987654")


def test_a_run_of_the_same_commit_takes_the_place_of_the_one_before() -> None:
    text = comment(finished(Change("x", Action.CREATE, "r")), around("a"))
    text = comment(finished(), around("a"), text)
    assert earlier_runs(text) == [Earlier("aaaaaaa", "No changes. There are no specs, and no jobs of this owner.")]


def test_only_our_own_lines_are_taken_over_from_a_comment_that_others_edited() -> None:
    forged = "<!-- now aaaaaaa <b>x</b> -->\n- <code>bbbbbbb</code> [x](y)\n- <code>c</code> Plan.\n"
    assert earlier_runs(forged) == []


def test_a_refused_plan_is_shown_once_with_its_reason() -> None:
    plan = Plan.of("o", "s", [Change("x", Action.CANCEL, "r")], unsafe=["too much would be cancelled"])
    text = comment(Finished(command="plan", owner="o", plan=plan, error=UnsafePlan("too much")), around("a"))
    assert text.count("too much") == 1
    assert "[!CAUTION]" in text


def test_a_long_plan_is_whole_in_the_summary() -> None:
    diff = tuple(Difference(f"hyperparameters.{n}", "0.0001", "0.0002") for n in range(3))
    changes = [Change(f"job-{n}", Action.CREATE, "no job of this revision yet", diff=diff) for n in range(1000)]
    assert "too many to show here" not in summary(finished(*changes), [])


def test_a_note_to_reviewers_is_in_the_summary() -> None:
    assert "> no comment" in summary(finished(), ["no comment"])
