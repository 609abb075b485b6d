"""The log on stderr: what it says when asked, in text and in JSON lines, and that it is silent when not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from program import KEY, Repo
from recording import Recording, recording

from reconciler.cli.overview import COMMANDS


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Recording]:
    with recording(tmp_path / "server", key=KEY) as server:
        yield server


@pytest.fixture
def repo(tmp_path: Path, server: Recording) -> Repo:
    repo = Repo.make(tmp_path / "repo", server.url, OPENAI_API_KEY=KEY)
    repo.spec("a")
    return repo


def lines(text: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in text.splitlines()]
    for line in found:
        assert {"time", "level", "logger", "message"} <= line.keys()
        assert line["time"].endswith("Z")
    return found


def test_without_an_option_nothing_is_logged(repo: Repo) -> None:
    assert repo.run("plan").err == ""


def test_verbose_has_a_line_for_each_request_listing_and_plan(repo: Repo) -> None:
    quiet = repo.run("plan")
    for arguments in (["plan", "--verbose"], ["--verbose", "plan"], ["plan", "-v"]):
        done = repo.run(*arguments, *(["--server", str(repo.server)] if arguments[0] != "plan" else []))
        assert done.out == quiet.out
        assert "info: GET /fine_tuning/jobs → 200, " in done.err
        assert "info: Listing read: 1 page, 0 jobs." in done.err
        assert "info: Plan made: 1 create." in done.err
        assert "debug: " not in done.err


def test_debug_shows_heads_and_not_the_key(repo: Repo) -> None:
    done = repo.run("plan", "--debug")
    assert "debug: > GET http" in done.err
    assert "authorization: [redacted]" in done.err
    assert "content-type: application/json" in done.err
    assert KEY not in done.said


def test_every_line_is_json_after_a_success(repo: Repo) -> None:
    done = repo.run("plan", "--debug", "--log-format", "json")
    found = lines(done.err)
    assert done.out == repo.run("plan").out
    request = next(line for line in found if line.get("path") == "/fine_tuning/jobs")
    assert (request["method"], request["status"]) == ("GET", 200)
    assert request["duration_ms"] >= 0
    assert request["request_id"]
    assert {"pages": 1, "jobs": 0}.items() <= next(line for line in found if "pages" in line).items()
    assert {"create": 1} in [line.get("actions") for line in found]


def test_progress_is_json_too(repo: Repo) -> None:
    done = repo.run("apply", "--auto-approve", "--wait", "--log-format=json")
    assert "a: succeeded" in [line["message"] for line in lines(done.err)]


@pytest.mark.parametrize(
    ("arguments", "code"), [(["plan", "missing"], 64), (["plan", "--nonsense"], 64), (["plan", "--owner", "b"], 1)]
)
def test_every_line_is_json_after_a_failure(repo: Repo, arguments: list[str], code: int) -> None:
    # The last of them reaches the server, which refuses its key.
    wrong = Repo(repo.root, repo.server, {"OPENAI_API_KEY": f"{KEY}-wrong", "RECONCILER_LOG_FORMAT": "json"})
    done = wrong.run(*arguments, code=code)
    last = lines(done.err)[-1]
    assert done.out == ""
    assert last["level"] == "error"
    assert last["message"]
    assert "hint" in last
    assert last.get("status") == (401 if code == 1 else None)


def test_a_wrong_format_is_refused(repo: Repo) -> None:
    assert "--log-format" in repo.run("plan", "--log-format", "xml", code=64).err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_options(name: str) -> None:
    import click  # noqa: PLC0415

    from reconciler.cli.main import cli  # noqa: PLC0415

    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    for each in (command, *getattr(command, "commands", {}).values()):
        options = [option for parameter in each.params for option in parameter.opts]
        assert [options.count(option) for option in ("--log-format", "--verbose", "--debug")] == [1, 1, 1], each.name
