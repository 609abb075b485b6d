"""At a terminal a plan is asked about, in colour; in a pipe nothing is asked and nothing is coloured."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from patient import elsewhere
from program import LONG, Repo
from recording import Recording, recording

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals here", allow_module_level=True)

from screen import CTRL_C, screen

QUESTION = "Apply this plan? [y/N]: "


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Recording]:
    with recording(tmp_path / "server") as server:
        yield server


@pytest.fixture
def repo(tmp_path: Path, server: Recording) -> Repo:
    repo = Repo.make(tmp_path / "repo", server.url)
    repo.spec("a")
    return repo


def test_without_a_terminal_apply_needs_auto_approve(repo: Repo, server: Recording) -> None:
    for answer in ("", "y\n"):
        assert "--auto-approve" in repo.run("apply", stdin=answer, code=64).err
    assert server.recorder.requests == []


def test_yes_applies_the_plan_that_was_shown(repo: Repo, server: Recording) -> None:
    with screen(repo, "apply", "--wait") as terminal:
        terminal.until(QUESTION)
        assert server.changes == []
        terminal.type("y\n")
        assert terminal.end() == 0
    assert "1 done" in terminal.text
    assert server.statuses("a") == ["succeeded"]


def test_with_json_the_plan_is_shown_before_it_is_asked_about(repo: Repo, server: Recording) -> None:
    with screen(repo, "apply", "--format", "json") as terminal:
        terminal.until(QUESTION)
        shown = terminal.text
        terminal.type("n\n")
        assert terminal.end() == 1
    assert "create" in shown.split(QUESTION)[0]
    assert server.changes == []


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("\n", 1), (CTRL_C, 130), ("\x04", 130)])
def test_anything_but_yes_changes_nothing(repo: Repo, server: Recording, answer: str, code: int) -> None:
    with screen(repo, "apply") as terminal:
        terminal.until(QUESTION)
        terminal.until_it_waits()
        terminal.type(answer)
        assert terminal.end() == code
    assert server.changes == []
    assert "Nothing was changed" in terminal.text or "Interrupted" in terminal.text


def test_a_plan_that_grew_old_while_it_was_shown_is_not_applied(repo: Repo, server: Recording) -> None:
    with screen(repo, "apply") as terminal:
        terminal.until(QUESTION)
        repo.apply()  # somebody else was faster
        server.forget()
        terminal.type("y\n")
        assert terminal.end() == 1
    assert "changed while the plan was being reviewed" in " ".join(terminal.text.split())
    assert server.changes == []


def test_interrupting_the_wait_leaves_the_jobs_running(repo: Repo, server: Recording) -> None:
    repo.spec("a", **LONG)
    with screen(repo, "apply", "--auto-approve", "--wait") as terminal:
        terminal.until("running")
        terminal.type(CTRL_C)
        assert terminal.end() == 130
    assert "go on" in terminal.text
    assert server.statuses("a") == ["running"]
    server.forget()
    with screen(repo, "apply", "--auto-approve", "--wait") as terminal:
        terminal.until("running")
        terminal.type(CTRL_C)
        assert terminal.end() == 130
    assert server.changes == []


def test_interrupting_the_embedded_server_loses_nothing(tmp_path: Path) -> None:
    repo = Repo.make(tmp_path / "local", "local", **elsewhere(tmp_path, "told"))
    repo.spec("a", model="simulated-slow", hyperparameters={"n_epochs": 3})
    with screen(repo, "apply", "--auto-approve", "--wait") as terminal:
        terminal.until("running")
        terminal.type(CTRL_C)
        assert terminal.end() == 130
    rows = repo.jobs()
    assert rows["a"]["status"] == "running"
    repo.write(".reconciler/may-end", "")
    repo.apply("--wait")
    assert repo.jobs()["a"]["status"] == "succeeded"
    assert repo.jobs()["a"]["job_id"] == rows["a"]["job_id"]


def test_a_terminal_gets_colour_and_no_line_is_too_long(repo: Repo) -> None:
    with screen(repo, "plan") as terminal:
        assert terminal.end() == 0
    assert "\x1b[32m" in terminal.text
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.text)
    assert max(map(len, plain.splitlines())) <= 80


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_color_means_none(repo: Repo, variable: str, value: str) -> None:
    with screen(Repo(repo.root, repo.server, {variable: value}), "plan") as terminal:
        assert terminal.end() == 0
    assert not re.search(r"\x1b\[[0-9;]*m", terminal.text)


def test_a_pipe_gets_plain_lines_of_any_length(repo: Repo) -> None:
    repo.spec("b" * 60)
    done = repo.run("plan")
    assert "\x1b" not in done.said
    assert max(map(len, done.out.splitlines())) > 80


def test_waiting_at_a_terminal_shows_step_and_loss(repo: Repo, server: Recording) -> None:
    repo.spec("a", model="simulated-slow", hyperparameters={"n_epochs": 5})
    with screen(repo, "apply", "--auto-approve", "--wait", columns=120) as terminal:
        terminal.until("/60")
        server.release()
        assert terminal.end() == 0
    assert "loss" in terminal.text
    assert re.search(r"\d+/60", terminal.text)
    assert "1 succeeded" in terminal.text


def test_watch_asks_about_new_runs_and_goes_on_meanwhile(repo: Repo, server: Recording) -> None:
    repo.spec("old", **LONG)
    repo.apply("--target", "old")
    server.until("old", "running")
    server.forget()
    with screen(repo, "watch", "--interval", "1", "--no-dashboard") as terminal:
        terminal.until("Start 1 new run (a)? [y/N]")
        repo.spec("old", state="paused", **LONG)
        terminal.until("paused old")
        assert server.creates == 0
        time.sleep(1.1)
        terminal.type("y\n")
        terminal.until("created a")
        server.until("a", "succeeded")
        terminal.type(CTRL_C)
        assert terminal.end() == 0
    assert terminal.text.count("[y/N]") == 1
