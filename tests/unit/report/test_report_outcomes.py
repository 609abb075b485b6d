from __future__ import annotations

import pytest

from reconciler.apply.model import Outcome
from reconciler.errors import InvalidRequest, Problem, ReconcilerError, SpecError
from reconciler.plan.model import Action, Change
from reconciler.report.fault import render_error
from reconciler.report.outcomes import render_outcomes

CREATE = Change("triage", Action.CREATE, "no job", revision="3f2a91c0aa11bb22", attempt=1)
CANCEL = Change("old", Action.CANCEL, "gone", job_id="ftjob-old", revision="9b11aa02cc33dd44", attempt=1)
REFUSED = InvalidRequest(
    "no such model", hint="Choose another.", status=400, code="model_not_found", request_id="req_9"
)


def text(*outcomes: Outcome, width: int | None = None) -> str:
    return render_outcomes(outcomes, color=False, width=width)


def test_a_success_names_its_job_and_request() -> None:
    assert "done  created  ftjob-new, request req_1\n" in text(
        Outcome(CREATE, "done", "ftjob-new", None, "created", "req_1")
    )


def test_a_success_without_words_still_names_its_job() -> None:
    assert "done    ftjob-new\n" in text(Outcome(CREATE, "done", "ftjob-new"))


def test_a_failure_is_told_in_full_with_its_hint() -> None:
    lines = text(Outcome(CREATE, "failed", error=REFUSED, request_id="req_9")).splitlines()
    assert lines[0].endswith("failed  no such model (HTTP 400, code model_not_found, request req_9)")
    assert lines[1].strip() == "Hint: Choose another."


def test_a_skipped_change_says_why_and_keeps_its_job() -> None:
    assert "skipped  its successor failed  ftjob-old\n" in text(
        Outcome(CANCEL, "skipped", detail="its successor failed")
    )


def test_the_last_line_counts_results() -> None:
    shown = text(Outcome(CREATE, "done"), Outcome(CANCEL, "failed", error=REFUSED), Outcome(CANCEL, "done"))
    assert shown.endswith("\n\nApplied: 2 done, 1 failed.\n")
    assert text() == "Nothing was applied.\n"


@pytest.mark.parametrize("width", [60, 80, 200])
def test_long_failures_fold_under_their_column(width: int) -> None:
    error = ReconcilerError("because of " * 40, hint="try " * 40)
    shown = text(Outcome(CREATE, "failed", "ftjob-" + "x" * 30, error), Outcome(CANCEL, "done"), width=width)
    assert max(map(len, shown.splitlines())) <= width
    assert shown.count("because") == 40


def test_problems_stand_at_the_first_column_where_editors_find_them() -> None:
    error = SpecError([Problem("b.yaml", 2, 1, "bad"), Problem("a.yaml", 7, 3, "unknown key")], hint="See the schema.")
    assert render_error(error, color=False, width=80) == (
        "a.yaml:7:3: unknown key\nb.yaml:2:1: bad\nError: 2 problems. Nothing was changed.\n Hint: See the schema.\n"
    )


def test_an_error_without_words_is_named_by_its_kind() -> None:
    assert render_error(ReconcilerError(""), color=False, width=80) == "Error: ReconcilerError\n"


def test_ten_thousand_problems_do_not_flood_the_terminal() -> None:
    error = SpecError([Problem("a.yaml", line, 1, "bad") for line in range(1, 10_001)])
    lines = render_error(error, color=False, width=80).splitlines()
    assert len(lines) == 202
    assert lines[-2:] == ["... and 9800 more", "Error: 10000 problems. Nothing was changed."]
