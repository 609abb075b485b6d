"""What holds for every report, whatever specs and servers put into it."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.api.types import Checkpoint, CheckpointMetrics, Event
from reconciler.apply.model import Outcome, Result
from reconciler.errors import InvalidRequest, Problem, SpecError
from reconciler.plan.model import Action, Change, Difference, Plan
from reconciler.report.checkpoints import checkpoints_json, render_checkpoints
from reconciler.report.document import to_text
from reconciler.report.events import events_json, render_events
from reconciler.report.fault import render_error
from reconciler.report.outcomes import render_outcomes
from reconciler.report.outputs import outputs
from reconciler.report.plan_json import outcomes_json, plan_json
from reconciler.report.plan_markdown import plan_markdown
from reconciler.report.plan_text import render_plan
from reconciler.report.progress import Lines
from reconciler.report.status import StatusRow, render_status, status_json

NASTY = st.sampled_from(
    ["\x1b[2J", "\x9b", "\x07", "\r", "\n", "\u202e", "\u2066", "\u200f", "\x7f", "\ud800", "世", "|", "`"]
)
TEXT = st.lists(NASTY | st.text(st.characters(), max_size=8), max_size=6).map("".join)
MAYBE = st.none() | TEXT
RESULTS: list[Result] = ["done", "failed", "skipped"]

CHANGES = st.builds(
    Change,
    TEXT,
    st.sampled_from(Action),
    TEXT,
    MAYBE,
    MAYBE,
    st.none() | st.integers(1, 99),
    st.lists(st.builds(Difference, TEXT, MAYBE, MAYBE), max_size=3).map(tuple),
    MAYBE,
    MAYBE,
    st.lists(TEXT, max_size=2).map(tuple),
)
PLANS = st.builds(
    Plan.of, TEXT, TEXT, st.lists(CHANGES, max_size=4), st.lists(TEXT, max_size=2), st.lists(TEXT, max_size=2)
)
ERRORS = st.builds(InvalidRequest, TEXT, hint=TEXT, status=st.just(400), code=MAYBE, param=MAYBE, request_id=MAYBE)
OUTCOMES = st.lists(
    st.builds(Outcome, CHANGES, st.sampled_from(RESULTS), MAYBE, st.none() | ERRORS, TEXT, MAYBE), max_size=3
)
ROWS = st.lists(
    st.builds(
        StatusRow, TEXT, MAYBE, MAYBE, MAYBE, MAYBE, st.none() | st.integers(), MAYBE, st.booleans(),
        estimated_finish=st.none() | st.integers(), trained_tokens=st.none() | st.integers(), error=MAYBE,
    ),
    max_size=3,
)  # fmt: skip
DATA = st.dictionaries(TEXT | st.just("train_loss"), st.floats() | st.integers() | TEXT, max_size=3)
EVENTS = st.lists(
    st.builds(
        Event,
        id=TEXT,
        created_at=st.integers(),
        level=TEXT,
        message=TEXT,
        type=st.sampled_from(["message", "metrics"]),
        data=st.none() | DATA,
    ),
    max_size=6,
)
CHECKPOINTS = st.lists(
    st.builds(
        Checkpoint,
        id=TEXT,
        created_at=st.integers(),
        fine_tuned_model_checkpoint=TEXT,
        step_number=st.integers(),
        metrics=st.builds(CheckpointMetrics, train_loss=st.none() | st.floats()),
        fine_tuning_job_id=MAYBE,
    ),
    max_size=6,
)
COLOR = re.compile(r"\x1b\[[0-9;]*m")

anything = settings(database=None, deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])


def harmless(text: str) -> None:
    """Every line can be printed: nothing but letters, and the colours that are ours."""
    assert COLOR.sub("", text).replace("\n", "").isprintable()


@pytest.mark.parametrize("color", [True, False])
@pytest.mark.parametrize("width", [None, 40, 80])
@given(plan=PLANS, outcomes=OUTCOMES, rows=ROWS, events=EVENTS, checkpoints=CHECKPOINTS, error=ERRORS)
@anything
def test_no_text_commands_a_terminal(
    color: bool,
    width: int | None,
    plan: Plan,
    outcomes: list[Outcome],
    rows: list[StatusRow],
    events: list[Event],
    checkpoints: list[Checkpoint],
    error: InvalidRequest,
) -> None:
    def everything() -> list[str]:
        return [
            render_plan(plan, color=color, width=width),
            render_plan(plan, color=color, width=width, verbose=True),
            render_outcomes(outcomes, color=color, width=width),
            render_status(rows, now=0, color=color, width=width),
            render_events(events, color=color, width=width),
            render_checkpoints(checkpoints, color=color, width=width),
            render_error(error, color=color, width=width),
            plan_markdown(plan),
        ]

    reports = everything()
    for report in reports:
        harmless(report)
        report.encode()
        if not color:
            assert "\x1b" not in report
    assert everything() == reports


@given(plan=PLANS, outcomes=OUTCOMES, rows=ROWS, events=EVENTS, checkpoints=CHECKPOINTS)
@anything
def test_every_document_is_valid_json_and_reads_back(
    plan: Plan, outcomes: list[Outcome], rows: list[StatusRow], events: list[Event], checkpoints: list[Checkpoint]
) -> None:
    for document in (
        plan_json(plan),
        outcomes_json(plan, outcomes),
        status_json(rows),
        events_json(events),
        checkpoints_json(checkpoints),
    ):
        text = to_text(document)
        harmless(text)
        assert text.isascii()
        assert to_text(json.loads(text)) == text
    assert json.loads(to_text(plan_json(plan))) == plan_json(plan)


@given(names=st.dictionaries(TEXT, MAYBE, max_size=3))
@anything
def test_outputs_hold_no_control_characters(names: dict[str, str | None]) -> None:
    harmless(outputs(names, "json"))
    harmless(outputs(names, "yaml"))
    harmless(outputs(names, "tfvars"))


@given(problems=st.lists(st.builds(Problem, TEXT, st.integers(0, 9), st.integers(0, 9), TEXT), min_size=1, max_size=4))
@anything
def test_problems_in_specs_are_harmless(problems: list[Problem]) -> None:
    harmless(render_error(SpecError(problems), color=False, width=60))


def test_the_name_of_a_file_forges_no_problem() -> None:
    error = SpecError([Problem("specs/a\nspecs/b.yaml:1:1: forged\n::error::c.yaml", 1, 2, "wrong")])
    first, *rest = render_error(error, color=False, width=None).splitlines()
    assert first == "specs/a specs/b.yaml:1:1: forged ::error::c.yaml:1:2: wrong"
    assert rest == ["Error: 1 problem. Nothing was changed."]


@given(text=TEXT)
@anything
def test_progress_in_a_log_is_harmless(text: str) -> None:
    def said(tell: Callable[[Lines], None]) -> str:
        stream = io.StringIO()
        tell(Lines(stream, color=False))
        return stream.getvalue()

    harmless(said(lambda lines: lines.note(text)))
    harmless(said(lambda lines: lines.job(text, text)))
    harmless(said(lambda lines: lines.upload(text, 1, 1)))
