from __future__ import annotations

import re

import pytest

from reconciler.plan.model import Action, Change, Difference, Plan
from reconciler.report.plan_text import render_plan


def plan(*changes: Change, warnings: tuple[str, ...] = (), unsafe: tuple[str, ...] = ()) -> Plan:
    return Plan.of("github.com/acme/models", "https://api.example/v1", changes, warnings, unsafe)


def text(*changes: Change, width: int | None = None, verbose: bool = False) -> str:
    return render_plan(plan(*changes), color=False, width=width, verbose=verbose)


MATCHING = [Change(f"n{i}", Action.NONE, "converged") for i in range(12)]


@pytest.mark.parametrize(
    ("changes", "last"),
    [
        ([], "No changes. There are no specs, and no jobs of this owner."),
        (MATCHING, "No changes. 12 jobs match their specs."),
        (MATCHING[:1], "No changes. 1 job matches its spec."),
        ([Change("a", Action.WAIT, "r"), *MATCHING], "Nothing to apply: 1 waits, 12 unchanged."),
        (
            [Change("a", Action.CREATE, "r"), Change("b", Action.WAIT, "r"), Change("c", Action.WAIT, "r")],
            "Plan: 1 to create, 2 wait.",
        ),
        ([Change(a.value, a, "r") for a in Action], (
            "Plan: 1 to create, 1 to resume, 1 to pause, 1 to cancel, 1 waits, 1 on hold, 1 blocked, 1 unchanged."
        )),
    ],
)  # fmt: skip
def test_the_last_line_sums_the_plan_up(changes: list[Change], last: str) -> None:
    assert text(*changes).splitlines()[-1] == last


@pytest.mark.parametrize(
    ("action", "symbol"),
    [("create", "+"), ("resume", ">"), ("pause", "="), ("cancel", "-"), ("wait", "~"), ("hold", "."), ("blocked", "!")],
)
def test_every_action_has_a_symbol_that_needs_no_colour(action: str, symbol: str) -> None:
    assert f"  {symbol} triage  {action}  " in text(Change("triage", Action(action), "why"))


def test_a_change_says_revision_attempt_reason_and_job() -> None:
    change = Change("a", Action.CANCEL, "its spec is gone", "ftjob-1", "3f2a91c0aa11bb22", 2)
    assert "  - a  cancel  3f2a91c0 #2  its spec is gone  ftjob-1\n" in text(change)


def test_a_job_that_the_reason_names_is_not_named_twice() -> None:
    assert text(Change("a", Action.BLOCKED, "job ftjob-1 failed", "ftjob-1")).count("ftjob-1") == 1


def test_a_reason_that_names_a_longer_id_does_not_hide_the_job() -> None:
    assert "  ftjob-1\n" in text(Change("a", Action.CANCEL, "ftjob-12 counts, not xftjob-1", "ftjob-1"))


def test_differences_are_aligned_field_by_field() -> None:
    diff = (Difference("seed", None, "7"), Difference("hyperparameters.n_epochs", "3", None))
    lines = text(Change("a", Action.CREATE, "r", diff=diff, model="base")).splitlines()
    below = [line.strip() for line in lines[3:6]]
    assert below == [
        "model                     base",
        "seed                      (unset) -> 7",
        "hyperparameters.n_epochs  3 -> (unset)",
    ]


def test_a_model_that_differs_is_shown_as_a_difference_only() -> None:
    shown = text(Change("a", Action.CREATE, "r", diff=(Difference("model", "old", "new"),), model="new"))
    assert len(re.findall(r"^ +model ", shown, re.MULTILINE)) == 1


def test_long_values_show_the_place_where_they_differ() -> None:
    old, new = "x" * 5000 + "OLD" + "y" * 5000, "x" * 5000 + "NEW" + "y" * 5000
    shown = text(Change("a", Action.CREATE, "r", diff=(Difference("grader", old, new),)))
    assert "xOLDy" in shown
    assert "xNEWy" in shown
    assert len(shown) < 1000


@pytest.mark.parametrize(("requires", "said"), [("a", "its successor exists"), ("b", "b has its job")])
def test_a_change_says_what_it_comes_after(requires: str, said: str) -> None:
    assert f"after  {said}" in text(Change("a", Action.CANCEL, "r", requires=requires))


def test_matching_jobs_are_one_line_unless_all_is_asked_for() -> None:
    changes = [Change("a", Action.CREATE, "r"), *MATCHING]
    assert "    12 jobs match their specs\n" in text(*changes)
    assert "n3" not in text(*changes)
    assert "    n3   none      converged\n" in text(*changes, verbose=True)


def test_what_is_worth_noting_of_matching_jobs_is_said_once_with_their_names() -> None:
    changes = [Change(f"n{i}", Action.NONE, "converged", notes=("new metadata waits",)) for i in range(8)]
    assert "    n0, n1, n2, n3, n4 and 3 more: new metadata waits\n" in text(*changes)


def test_warnings_and_dangers_stand_before_the_summary() -> None:
    shown = render_plan(
        plan(Change("a", Action.CANCEL, "r"), warnings=("odd job",), unsafe=("12 of 20 would go; use --allow-prune",)),
        color=False,
        width=80,
    )
    assert shown.endswith("Warning: odd job\nUnsafe: 12 of 20 would go; use --allow-prune\n\nPlan: 1 to cancel.\n")


@pytest.mark.parametrize(
    ("counted", "said"),
    [
        ((1030, 8), "new: 1,030 added, 8 removed\n"),
        ((0, 1), "new: 0 added, 1 removed\n"),
        ((0, 0), "new: the same rows in another order\n"),
        ((None, None), "new\n"),
    ],
)
def test_changed_rows_stand_after_the_values(counted: tuple[int | None, int | None], said: str) -> None:
    shown = text(Change("a", Action.CREATE, "r", diff=(Difference("training_file", "old", "new", *counted),)))
    assert f"old -> {said}" in shown


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    diff = (Difference("training_file", "a.jsonl (200 rows) " * 3, "b" * 150),)
    changes = [
        Change("n" * 63, Action.CREATE, "because of " * 30, "ftjob-" + "x" * 40, "3f2a91c0aa11bb22", 1, diff, "m" * 90),
        Change("short", Action.BLOCKED, "y" * 300),
    ]
    shown = text(*changes, width=width)
    assert max(map(len, shown.splitlines())) <= width
    assert shown.count("because") == 30


def test_a_pipe_gets_one_line_a_change() -> None:
    assert f"r{' r' * 300}\n" in text(Change("a", Action.WAIT, "r " * 301))


def test_colour_changes_no_word() -> None:
    some = plan(*(Change(a.value, a, "why", "ftjob-1", diff=(Difference("f", "1", None),)) for a in Action))
    colored = render_plan(some, color=True, width=80)
    assert "\x1b[32m" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == render_plan(some, color=False, width=80)


def test_a_name_from_a_foreign_job_cannot_command_the_terminal() -> None:
    shown = text(Change("a\x1b[2J", Action.CANCEL, "gone\nPlan: 0 to create.", "ftjob\x07"))
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\nPlan: 0" not in shown
