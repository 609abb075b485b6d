"""What was reviewed is what runs: a saved plan is applied as it is, or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from program import LONG, OWNER, Repo
from recording import Recording, recording


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Recording]:
    with recording(tmp_path / "server") as server:
        yield server


@pytest.fixture
def saved(tmp_path: Path, server: Recording) -> Repo:
    return with_a_saved_plan(tmp_path / "repo", server)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Repo, Recording]]:
    """A saved plan to copy, and its server, for tests that change nothing there."""
    with recording(tmp_path_factory.mktemp("server")) as server:
        yield with_a_saved_plan(tmp_path_factory.mktemp("saved") / "repo", server), server


def with_a_saved_plan(root: Path, server: Recording) -> Repo:
    """Make a repository with one spec, and its plan in ``plan.json``."""
    repo = Repo.make(root, server.url)
    repo.spec("a")
    repo.run("plan", "--out", "plan.json")
    assert server.changes == []
    return repo


def test_a_saved_plan_is_applied_once_and_needs_no_terminal(saved: Repo, server: Recording) -> None:
    assert "1 done" in saved.run("apply", "plan.json", "--wait").out
    assert server.statuses("a") == ["succeeded"]
    again = saved.run("apply", "plan.json", code=1)
    assert "no longer holds" in again.err
    assert "a: create was planned; now none" in again.err
    assert server.creates == 1


@pytest.mark.parametrize(
    "more",
    [
        ("--target", "a"),
        ("--exclude", "a"),
        ("--recreate", "a"),
        ("--max-prune", "0"),
        ("--allow-empty",),
        ("--take-over", "somebody/else"),
        ("--environment", "prod"),
    ],
    ids=lambda more: more[0],
)
def test_what_a_saved_plan_does_is_not_changed_on_the_way(
    more: tuple[str, ...], untouched: tuple[Repo, Recording]
) -> None:
    repo, server = untouched
    refused = repo.run("apply", "plan.json", *more, code=64)
    assert f"A saved plan is applied as it was made, and {more[0]} is no part of that." in refused.err
    assert server.changes == []


def edit_the_spec(repo: Repo) -> None:
    repo.spec("a", seed=2)


def add_a_spec(repo: Repo) -> None:
    repo.spec("b")


def change_the_data(repo: Repo) -> None:
    file = repo.root / "specs/data/train.jsonl"
    file.write_bytes(file.read_bytes() + file.read_bytes())


def change_the_policy(repo: Repo) -> None:
    repo.write("reconciler.yaml", f"owner: {OWNER}\npolicy: {{max_active: 1}}\n")


def change_the_owner(repo: Repo) -> None:
    repo.write("reconciler.yaml", "owner: example.com/else\n")


def tamper(repo: Repo) -> None:
    plan = json.loads((repo.root / "plan.json").read_text())
    plan["changes"][0]["model"] = "gpt-4.1-2025-04-14"
    repo.write("plan.json", json.dumps(plan))


def cut_short(repo: Repo) -> None:
    text = (repo.root / "plan.json").read_text()
    repo.write("plan.json", text[: len(text) // 2])


def another_version(repo: Repo) -> None:
    text = (repo.root / "plan.json").read_text()
    repo.write("plan.json", text.replace('"version": 1', '"version": 99'))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (edit_the_spec, "spec a changed"),
        (add_a_spec, "spec b is new"),
        (change_the_data, "spec a changed"),
        (change_the_policy, "policy"),
        (change_the_owner, "owner was example.com/e2e, now it is example.com/else"),
        (tamper, "was changed after it was made"),
        (cut_short, "plan.json"),
        (another_version, "version 99"),
    ],
)
def test_a_saved_plan_is_refused_when_something_changed(
    tmp_path: Path, untouched: tuple[Repo, Recording], change: Callable[[Repo], None], words: str
) -> None:
    original, server = untouched
    shutil.copytree(original.root, tmp_path / "repo")
    repo = Repo(tmp_path / "repo", original.server)
    change(repo)
    done = repo.run("apply", "plan.json", "--auto-approve", code=1)
    assert words in done.err
    assert server.changes == []


def test_a_saved_plan_is_refused_on_another_server(saved: Repo, server: Recording) -> None:
    done = saved.run("apply", "plan.json", "--server", "local", code=1)
    assert f"the server was {server.url}, now it is local" in done.err
    assert server.changes == []


def test_a_saved_plan_is_refused_when_the_jobs_changed(saved: Repo, server: Recording) -> None:
    saved.apply("--wait")
    server.forget()
    assert "no longer holds" in saved.run("apply", "plan.json", code=1).err
    assert server.changes == []


def test_a_saved_plan_keeps_its_targets(saved: Repo, server: Recording) -> None:
    saved.spec("b")
    saved.run("plan", "--target", "b", "--out", "plan.json")
    saved.run("apply", "plan.json", "--wait")
    assert server.statuses("a") == []
    assert server.statuses("b") == ["succeeded"]


def test_a_plan_that_must_not_be_applied_is_refused_as_a_saved_one_too(saved: Repo, server: Recording) -> None:
    saved.spec("a", **LONG)
    saved.apply()
    saved.remove("a")
    server.forget()
    saved.run("plan", "--out", "plan.json", code=1)
    assert "--allow-empty" in saved.run("apply", "plan.json", code=1).said
    saved.run("plan", "--allow-empty", "--out", "plan.json")
    saved.run("apply", "plan.json")
    assert server.statuses("a") == ["cancelled"]


def test_equal_plans_are_saved_as_equal_bytes(saved: Repo) -> None:
    first = (saved.root / "plan.json").read_bytes()
    saved.run("plan", "--out", "plan.json")
    assert (saved.root / "plan.json").read_bytes() == first
