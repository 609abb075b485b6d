"""The dashboard by its keys, in front of a play."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hostile import HOSTILE
from stage import Play, classic
from textual.pilot import Pilot

from reconciler.tui.app import Dashboard


def text(app: Dashboard) -> str:
    """Return what stands on the screen."""
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())


@asynccontextmanager
async def opened(play: Play, size: tuple[int, int] = (100, 30)) -> AsyncIterator[tuple[Dashboard, Pilot[None]]]:
    play.look()
    app = play.app()
    async with app.run_test(size=size, notifications=True) as pilot:
        await shows(app, pilot, "last look")
        yield app, pilot


async def shows(app: Dashboard, pilot: Pilot[None], *words: str, without: str = "\0") -> str:
    """Wait until all words stand on the screen together, and those ``without`` do not."""
    for _ in range(200):
        shown = text(app)
        if all(word in shown for word in words) and without not in shown:
            return shown
        await pilot.pause(0.05)
    raise AssertionError(f"{words} are not shown:\n{text(app)}")


async def test_every_spec_has_a_row_and_what_needs_a_person_comes_first() -> None:
    async with opened(classic(), (200, 30)) as (app, pilot):
        words = ("12 specs", "3 ● running", "120/300", "about 0.45 USD", "1.81 USD", "row 118")
        shown = await shows(app, pilot, *words, "example.com/models on https://api.example.com/v1")
        order = [shown.index(name) for name in ("toxicity", "translate-fr", "router", "intent-small", "faq-bot")]
        assert order == sorted(order)


@pytest.mark.parametrize("width", [20, 45, 80, 300])
async def test_no_line_is_folded_at_any_width(width: int) -> None:
    async with opened(classic(), (width, 24)) as (app, pilot):
        rows = [line for line in text(app).split("\n") if line.startswith(" translate-") and "?" in line]
        assert len(rows) == 2
        await pilot.resize_terminal(80, 24)
        await shows(app, pilot, "LOSS", "0.7066")


async def test_events_are_read_for_what_runs_and_is_in_view_only() -> None:
    play = classic()
    async with opened(play) as (app, pilot):
        await shows(app, pilot, "120/300", "214/300", "61/300")
        assert set(play.requests) == {
            f"GET /v1/fine_tuning/jobs/ftjob-{name}/events" for name in ("router", "summaries-de", "support-tone")
        }


async def test_words_find_rows_and_escape_shows_all() -> None:
    async with opened(classic()) as (app, pilot):
        await pilot.press("slash", *"run rou")
        await shows(app, pilot, "1 of 12 specs")
        await pilot.press("enter", "o")
        await shows(app, pilot, "by name")
        await pilot.press("escape")
        await shows(app, pilot, "12 specs by name", without="of 12")


async def test_a_choice_stays_with_its_spec() -> None:
    play = classic()
    async with opened(play) as (app, pilot):
        await pilot.press("j", "j", "j", "k", "down")
        assert app._table.chosen is not None
        assert app._table.chosen.name == "router"
        play.add("aaa", "failed")
        play.look()
        await shows(app, pilot, "13 specs", "aaa")
        assert app._table.chosen.name == "router"


async def test_what_was_shown_is_approved_and_nothing_else() -> None:
    play = classic()
    async with opened(play) as (app, pilot):
        await pilot.press("a")
        await shows(app, pilot, "Start 2 new runs?", "Estimated cost: 0.90 USD")
        play.add("late")
        play.look()
        await pilot.press("y")
        await shows(app, pilot, "1 new run waits for approval")
        assert {name for name, _ in play.asking.approved or ()} == {"translate-fr", "translate-it"}
        assert {name for name, _ in play.asking.open} == {"late"}
        assert play.soon_calls == 1


async def test_a_plan_that_is_left_is_not_approved() -> None:
    play = classic()
    async with opened(play) as (app, pilot):
        await pilot.press("a", "escape")
        await shows(app, pilot, "press a")
        assert not play.asking.approved


@pytest.mark.parametrize(("key", "state"), [("p", "paused"), ("c", "cancelled")])
async def test_an_edit_is_shown_and_written_once_agreed_to(key: str, state: str) -> None:
    play = classic()
    async with opened(play) as (app, pilot):
        await pilot.press(key)
        await shows(app, pilot, f"Set toxicity to {state}?", f"+state: {state}")
        await pilot.press("escape")
        await shows(app, pilot, "last look")
        assert play.edits == []
        await pilot.press(key)
        await shows(app, pilot, "y write it")
        await pilot.press("y")
        await shows(app, pilot, "last look")
        await app.workers.wait_for_complete()
        assert play.edits == [("toxicity", state)]


async def test_where_specs_cannot_be_edited_it_says_why() -> None:
    play = classic()
    play.fixed = "They are those of main: change them there."
    async with opened(play) as (app, pilot):
        await pilot.press("p")
        await shows(app, pilot, play.fixed)


async def test_a_job_shows_facts_curve_and_events_as_they_come() -> None:
    play = classic()
    async with opened(play) as (app, pilot):
        await pilot.press("j", "j", "j", "enter")
        await shows(app, pilot, "Step 120/300", "ftjob-router", "validation", "⠉")
        play.steps["ftjob-router"] = 121
        await shows(app, pilot, "Step 121/300")
        await pilot.press("q")
        await shows(app, pilot, "last look")
        assert play.ended == 0


async def test_a_spec_without_a_job_says_why_it_has_none() -> None:
    async with opened(classic()) as (app, pilot):
        await pilot.press("j", "enter")
        await shows(app, pilot, "translate-fr has no job yet")


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_quitting_ends_the_watch(key: str) -> None:
    play = classic()
    async with opened(play) as (app, pilot):
        await pilot.press("question_mark")
        await shows(app, pilot, "Keys")
        await pilot.press("ctrl+c" if key == "ctrl+c" else "escape", key)
        assert play.ended == (2 if key == "ctrl+c" else 1)


async def test_hostile_words_are_shown_as_text() -> None:
    play = Play()
    for i, words in enumerate(HOSTILE[:60:3]):
        play.add(f"a{i}", "failed", error_message=words, fine_tuned_model=words)
        play.messages[f"ftjob-a{i}"] = words
    play.add("[bold red]x[/]\x1b[31m", "running", step=3, id="ftjob-a0", error_message="[link=x]")
    play.look()
    play.voice.say("[red]said[/red] \x1b]0;title\x07", "error", spec="a1")
    async with opened(play, (160, 50)) as (app, pilot):
        shown = await shows(app, pilot, "[bold red]x[/]\\x1b[31m", "[red]said[/red] \\x1b]0;title\\x07")
        assert all(line.isprintable() for line in shown.split("\n"))
        for _ in range(3):
            await pilot.press("enter")
            shown = await shows(app, pilot, "Fine-tuning job started")
            assert all(line.isprintable() for line in shown.split("\n"))
            await pilot.press("escape", "j", "j")


@pytest.mark.slow
async def test_ten_thousand_specs_stay_quick() -> None:
    play = Play()
    for i in range(10_000):
        play.add(f"model-{i:05}", "succeeded", id=f"ftjob-{i}", trained_tokens=1000)
    async with opened(play, (200, 50)) as (app, pilot):
        began = time.process_time()
        for _ in range(20):
            await pilot.press("j")
        await pilot.press("G")
        await shows(app, pilot, "model-09999")
        assert time.process_time() - began < 10  # a small part of that, as a rule
        assert play.requests == []
