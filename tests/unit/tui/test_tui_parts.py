"""What the dashboard is made of: rows, columns, curves, and requests for no more than is seen."""

from __future__ import annotations

import httpx
import pytest
from stage import OWNER, SERVER, Play, classic, job, spec

from reconciler.api.client import Client
from reconciler.api.server import Server
from reconciler.observe.state import Observed
from reconciler.plan.model import Plan
from reconciler.report.layout import cells
from reconciler.spec.policy import Price
from reconciler.tui.columns import Facts, Layout, Told, fit
from reconciler.tui.plot import plot
from reconciler.tui.reader import AT_ONCE, Reader, Story
from reconciler.tui.rows import Row, Steps, chosen, make_rows


def row(status: str, **fields: object) -> Row:
    of = spec("a")
    return Row("a", of, job(of, status, **fields), status, price=Price(per_million=2.0))


@pytest.mark.parametrize(
    ("made", "steps", "amount"),
    [
        (row("succeeded", trained_tokens=1_000_000), None, 2.0),
        (row("running"), Steps(step=50, total=100), 0.3),
        (row("running"), None, None),
        (Row("a", spec("a"), None, "no job", price=Price(per_million=2.0)), None, None),
    ],
)
def test_a_job_costs_what_it_was_billed_else_its_share(made: Row, steps: Steps | None, amount: float | None) -> None:
    cost = made.cost(steps)
    assert (cost.amount if cost else None) == amount


def test_a_job_that_lost_its_spec_has_a_row_as_long_as_it_is_active() -> None:
    gone, over = spec("gone"), spec("over")
    observed = Observed(jobs=(job(gone, "running"), job(over, "succeeded")))
    rows = make_rows([], observed, Plan(OWNER, SERVER, ()), {}, {})
    assert [(r.name, r.spec, r.why) for r in rows] == [("gone", None, "has no spec")]
    assert chosen(rows, "NO gone", "state") == rows
    assert chosen(rows, "gone else", "state") == []


@pytest.mark.parametrize("width", [12, 40, 80, 120, 200])
@pytest.mark.parametrize("name", ["a", "模型" * 20, "e\u0301" * 30])
def test_a_line_is_as_wide_as_the_screen(name: str, width: int) -> None:
    rows = [Row(name, None, None, "blocked", "why " * 50)]
    facts = Facts({}, {name: Told(0.0, "said " * 50)}, 0.0)
    layout = Layout(rows, facts, width)
    for line in (layout.head(), layout.line(rows[0], facts)):
        size = sum(cells(text) for text, _ in line)
        assert size == width or width < 40


@pytest.mark.parametrize(("text", "shown"), [("abc", "abc  "), ("abcdef", "abcd…"), ("模型模", "模型…"), ("", "     ")])
def test_what_does_not_fit_is_cut(text: str, shown: str) -> None:
    assert fit(text, 5) == shown


def test_curves_fill_the_room_they_are_given() -> None:
    lines = plot([("calm", [(1, 2.0), (50, 1.0), (100, 0.5)]), ("warn", [(1, float("inf")), (9, 1.5)])], 40, 8)
    assert len(lines) == 8
    assert all(sum(cells(text) for text, _ in line) <= 40 for line in lines)
    assert {style for line in lines for _, style in line} >= {"calm", "dim"}
    assert plot([("calm", [(1, 1.0)])], 40, 8) == []
    assert plot([("calm", [(1, 1.0), (2, 1.0)])], 5, 8) == []


def client(play: Play, answer: httpx.MockTransport | None = None) -> Client:
    return Client(Server("stage", SERVER, "k"), transport=answer or httpx.MockTransport(play.answer))


async def test_few_jobs_are_read_in_a_round_and_all_in_turn() -> None:
    play, time = Play(), [100.0]
    for i in range(AT_ONCE + 5):
        play.add(f"m{i}", "running", step=3)
    reader = Reader(client(play), 5.0, lambda: time[0])
    await reader.round(play.jobs)
    assert len(play.requests) == AT_ONCE
    assert not reader.due(play.jobs)
    time[0] += 5
    assert reader.due(play.jobs)
    await reader.round(play.jobs)
    assert set(reader.steps) == {each.id for each in play.jobs}


async def test_a_server_that_is_asked_too_much_is_left_alone_for_a_while() -> None:
    play, time = classic(), [100.0]

    async def at_once(_: float) -> None:
        pass

    refuse = httpx.MockTransport(lambda _: httpx.Response(429, json={"error": {"message": "no"}}))
    made = Client(Server("stage", SERVER, "k"), transport=refuse, sleep=at_once)
    reader = Reader(made, 5.0, lambda: time[0])
    await reader.round(play.jobs)
    time[0] += 10
    assert not reader.due(play.jobs)
    time[0] += 60
    assert reader.due(play.jobs)


async def test_a_story_is_read_once_and_then_only_what_is_new() -> None:
    play = classic()
    story = Story(client(play), "ftjob-support-tone")
    assert len(await story.read()) == 217
    first = len(play.requests)
    assert await story.read() == []
    assert len(play.requests) == first + 1
    train, valid = story.curves
    assert len(train) == 214
    assert len(valid) == 21
