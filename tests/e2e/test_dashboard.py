"""The dashboard in a real browser. No page may log an error, violate its policy, ask another host or open an alert."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from browser import Served, chromium, looking, serving
from patient import elsewhere
from playwright.sync_api import Browser, expect

pytestmark = pytest.mark.slow

KEY = "dashboard-key-never-to-be-shown"
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
LONG = {"model": "simulated-slow", "hyperparameters": {"n_epochs": 50}}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "state") as served:
        yield served


def test_a_running_job_is_followed_to_its_end_without_a_reload(tmp_path: Path, browser: Browser) -> None:
    trainer = elsewhere(tmp_path, "told")
    with serving(tmp_path / "state", **trainer) as served, looking(browser, served.url) as seen:
        page = seen.page
        expect(page.get_by_text("No jobs yet.")).to_be_visible()
        page.evaluate("window.same = true")
        served.job("triage", hyperparameters={"n_epochs": 4, "batch_size": 4})
        row = page.locator("tbody tr", has_text="triage")
        expect(row.locator(".status")).to_have_text("running")
        row.click()
        expect(page.get_by_role("heading", level=1)).to_have_text("triage")
        expect(page.locator(".chart canvas")).to_have_count(2)
        expect(page.locator(".head .status")).to_have_text("running")
        (served.directory / "may-end").touch()
        expect(page.locator(".head .status")).to_have_text("succeeded")
        expect(page.get_by_role("log")).to_contain_text("The job has successfully completed")
        expect(page.locator(".points tbody tr")).to_have_count(3)
        expect(page.locator("dl")).to_contain_text("ft:gpt-4.1-nano")
        assert re.fullmatch(r"Loss over \d+ steps: training from .* to .*, validation from .* to .*\.",
                            page.locator(".chart .unseen").first.text_content() or "")  # fmt: skip
        page.get_by_label("every step").check()
        expect(page.get_by_role("log")).to_contain_text("training loss=")
        assert page.evaluate("window.same") is True


def test_a_job_is_paused_resumed_and_cancelled(served: Served, browser: Browser) -> None:
    job_id = served.job("long", rows=300, **LONG)
    with looking(browser, f"{served.url}#/jobs/{job_id}") as seen:
        page, status = seen.page, seen.page.locator(".head .status")
        page.get_by_role("button", name="Pause").click()
        expect(status).to_have_text("paused")
        page.get_by_role("button", name="Resume").click()
        expect(status).to_have_text(re.compile("queued|running"))
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("dialog").get_by_role("button", name="No").click()
        expect(status).to_have_text(re.compile("queued|running"))
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
        expect(status).to_have_text("cancelled")
        expect(page.locator(".head button")).to_have_count(0)


def test_jobs_are_found_by_filters_and_keys(served: Served, browser: Browser) -> None:
    for name in ("inbox", "triage", "units"):
        served.job(name, rows=300, **LONG)
    with looking(browser, served.url) as seen:
        page, rows = seen.page, seen.page.locator("tbody tr")
        expect(rows).to_have_count(3)
        page.keyboard.press("/")
        page.keyboard.type("tri")
        expect(rows).to_have_count(1)
        expect(page.locator(".count")).to_have_text("1 job matches")
        expect(page).to_have_url(re.compile("text=tri"))
        page.reload()
        expect(rows).to_have_count(1)
        page.keyboard.press("Escape")
        expect(rows).to_have_count(3)
        page.get_by_role("button", name="running").click()
        expect(page.get_by_role("button", name="running")).to_have_attribute("aria-pressed", "true")
        page.keyboard.press("Escape")
        expect(rows).to_have_count(3)

        for key in ("j", "j", "j", "k"):
            page.keyboard.press(key)
        expect(page.locator("tr.chosen a")).to_have_text("triage")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("triage")
        page.keyboard.press("Escape")
        expect(rows).to_have_count(3)

        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        page.keyboard.press("t")
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        page.reload()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")


@pytest.mark.parametrize("dark", [False, True])
def test_names_are_text_whatever_they_say_and_fit_a_phone(served: Served, browser: Browser, dark: bool) -> None:
    labels = {
        "reconciler.owner": HOSTILE,
        "reconciler.name": HOSTILE,
        "reconciler.revision": HOSTILE,
        HOSTILE: "x" * 500,
    }
    job_id = served.job(metadata=labels, suffix=HOSTILE[:64], model="simulated-fail")
    served.job("javascript:alert(1)//" + "x" * 100)
    with looking(browser, served.url, width=390, height=844, dark=dark) as seen:
        page = seen.page
        expect(page.locator("tbody tr .name a").last).to_have_text(HOSTILE)
        assert seen.width() <= 390
        expect(page.get_by_role("combobox")).to_contain_text(HOSTILE)
        page.goto(f"{served.url}#/jobs/{job_id}")
        expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
        expect(page.locator(".error")).to_contain_text("training_failed")
        expect(page.locator("dl")).to_contain_text("x" * 500)
        assert seen.width() <= 390
        assert page.locator("main img, main script").count() == 0


def test_a_token_is_asked_for_and_never_shown(tmp_path: Path, browser: Browser) -> None:
    with serving(tmp_path, key=KEY) as served:
        served.job("triage")
        with looking(browser, served.url) as seen:
            page = seen.page
            page.get_by_label("Token").fill("wrong")
            page.get_by_role("button", name="Log in").click()
            expect(page.get_by_text("That is not the token.")).to_be_visible()
            page.get_by_label("Token").fill(KEY)
            page.get_by_role("button", name="Log in").click()
            expect(page.locator("tbody tr")).to_have_count(1)
            assert KEY not in str(page.context.cookies())
            assert page.evaluate("document.cookie") == ""
            page.get_by_role("button", name="Log out").click()
            expect(page.get_by_label("Token")).to_be_visible()
            seen.expect_unreachable()
        with looking(browser, f"{served.url}#token={KEY}") as seen:
            expect(seen.page.locator("tbody tr")).to_have_count(1)
            assert KEY not in seen.page.url
            assert KEY not in str(seen.page.evaluate("[...Array(history.length)].map(() => location.href)"))
        served.stop()
        assert KEY not in served.said


def test_a_server_that_was_away_is_found_again(served: Served, browser: Browser) -> None:
    served.job("before")
    with looking(browser, served.url) as seen:
        page = seen.page
        expect(page.locator("#live")).to_have_text("live")
        assert served.stop() == 0
        expect(page.locator("#live")).to_have_text("disconnected")
        expect(page.locator("#trouble")).to_contain_text("What you see is from")
        expect(page.locator("tbody tr")).to_have_count(1)
        served.start()
        served.job("after")
        expect(page.locator("tbody tr")).to_have_count(2)
        expect(page.locator("#live")).to_have_text("live")
        expect(page.locator("#trouble")).to_be_hidden()
        seen.expect_unreachable()


def test_open_pages_do_not_keep_the_server_from_stopping(served: Served) -> None:
    with httpx.Client(trust_env=False) as http, http.stream("GET", f"{served.url}data/stream") as stream:
        lines = stream.iter_lines()
        assert next(lines) == "retry: 2000"
        assert served.stop() == 0
        list(lines)  # to its end: where the server has to cut it off, after some seconds, this is an error
