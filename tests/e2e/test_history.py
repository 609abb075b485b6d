"""From a spec to everything that was trained for it, and from a model back: against a real server, in real git."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from program import Repo, chat
from recording import PATIENCE, Recording, recording, within

_GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    **{f"GIT_{who}_{what}": f"{who}@e.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Recording]:
    with recording(tmp_path / "server", speed=20.0) as server:
        yield server


@pytest.fixture
def repo(tmp_path: Path, server: Recording) -> Repo:
    made = Repo.make(tmp_path / "repo", server.url)
    made.write(".gitignore", ".reconciler/\n")
    git(made, "init", "-q", "-b", "main")
    return made


def git(repo: Repo, *arguments: str) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    return subprocess.run(
        ["git", "-C", str(repo.root), *arguments], env={**kept, **_GIT}, capture_output=True, text=True, check=True
    ).stdout.strip()


def commit(repo: Repo, subject: str) -> str:
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", subject)
    return git(repo, "rev-parse", "HEAD")


def history(repo: Repo, name: str, *arguments: str) -> dict[str, Any]:
    result = repo.run("history", name, "--server", str(repo.server), "--format", "json", *arguments)
    document: dict[str, Any] = result.json
    return document


def trace(repo: Repo, model: str, *arguments: str) -> list[dict[str, Any]]:
    result = repo.run("trace", model, "--server", str(repo.server), "--format", "json", *arguments)
    line: list[dict[str, Any]] = result.json["lineage"]
    return line


class Page(HTMLParser):
    """Collects a page's elements and text, and insists that nothing in it reaches out or runs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in {"script", "link", "img", "iframe", "object", "embed", "a", "base", "form", "image", "use"}
        assert not any(key.startswith("on") or key in {"src", "href", "style", "srcset"} for key, _ in attrs)
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            assert "url(" not in data
            assert "@import" not in data
        self.text += data

    def paths(self) -> list[str]:
        return [str(a["d"]) for tag, a in self.tags if tag == "path" and "class" not in a]


def next_second() -> None:
    """Wait until the clock shows another second: times of jobs know no less, and jobs are told apart by them."""
    second = int(time.time())
    within(PATIENCE, lambda: int(time.time()) > second)


def test_every_attempt_is_joined_with_its_commit_and_its_data(repo: Repo, server: Recording, tmp_path: Path) -> None:
    repo.spec("shop", validation_file="data/train.jsonl", suffix="shop", seed=3)
    first = commit(repo, "The first <b>spec</b>")
    repo.apply("--wait")
    next_second()
    repo.rows("train.jsonl", chat(word="and"))
    second = commit(repo, "More data")
    repo.apply("--wait")
    next_second()
    repo.spec("shop", seed=4, hyperparameters={"n_epochs": 2})
    repo.apply("--wait")
    git(repo, "status")  # it brings the index up to date
    index = repo.root / ".git/index"
    before = git(repo, "status", "--porcelain"), index.stat().st_mtime_ns
    server.forget()

    found = history(repo, "shop")
    assert (found["name"], found["notes"]) == ("shop", [])
    newest, middle, oldest = found["attempts"]
    assert [a["commit"] for a in found["attempts"]] == [None, second, first]
    assert [a["committed"] for a in found["attempts"]] == [False, True, True]
    assert oldest["subject"] == "The first <b>spec</b>"
    assert oldest["source"] == {"file": "specs/shop.yaml", "line": 1}
    digest = hashlib.sha256((repo.root / "specs/data/train.jsonl").read_bytes()).hexdigest()
    assert middle["training_file"]["sha256"] == middle["validation_file"]["sha256"] == digest
    assert newest["training_file"] == {**middle["training_file"], "path": "specs/data/train.jsonl"}
    assert oldest["training_file"]["sha256"] not in {None, digest}
    assert newest["validation_file"] is None
    assert newest["hyperparameters"]["n_epochs"] == 2
    jobs = {job["id"]: job for job in server.jobs()}
    for attempt in found["attempts"]:
        job = jobs[attempt["job_id"]]
        assert attempt["fine_tuned_model"] == job["fine_tuned_model"]
        assert attempt["trained_tokens"] == job["trained_tokens"] > 0
        assert attempt["seconds"] == job["finished_at"] - job["created_at"]
        assert attempt["seed"] == job["seed"]
        assert 0 < attempt["train_loss"] < 20
    assert oldest["valid_loss"] > 0
    assert newest["valid_loss"] is None
    assert server.changes == []

    asked = len(server.recorder.requests)
    server.forget()
    html = tmp_path / "page.html"
    assert history(repo, "shop", "--html", str(html)) == found
    assert len(server.recorder.requests) < asked, "the losses of jobs that ended are read once"
    page = Page(html.read_text(encoding="utf-8"))
    assert len(page.paths()) == 5  # three of training, two of validation
    assert "The first <b>spec</b>" in page.text
    assert "3 jobs of 3 revisions" in page.text
    assert (git(repo, "status", "--porcelain"), index.stat().st_mtime_ns) == before


def test_tries_that_failed_are_shown_with_why(repo: Repo) -> None:
    repo.spec("shop", training_file="data/bad.jsonl", model="simulated-fail-transient", retry={"limit": 2})
    repo.rows("bad.jsonl", chat())
    commit(repo, "fails")
    repo.apply("--wait", code=None)
    found = history(repo, "shop")["attempts"]
    assert [a["attempt"] for a in found] == [3, 2, 1]
    assert {a["revision"] for a in found} == {found[0]["revision"]}
    assert {a["status"] for a in found} == {"failed"}
    assert all(a["error"] and a["fine_tuned_model"] is None for a in found)


def test_a_model_is_traced_through_all_it_started_from(repo: Repo, server: Recording) -> None:
    repo.spec("base", hyperparameters={"n_epochs": 3})
    repo.spec("mid", model={"job": "base", "checkpoint": "best"})
    repo.spec("top", model={"job": "mid"})
    first = commit(repo, "A chain")
    repo.apply("--wait")
    model = server.by_name("top")[0]["fine_tuned_model"]
    line = trace(repo, model)
    assert [g["name"] for g in line] == ["top", "mid", "base"]
    assert {g["commit"] for g in line} == {first}
    assert [g["ours"] for g in line] == [True] * 3
    assert [g["base_model"] for g in line[:2]] == [g["model"] for g in line[1:]]
    assert line[2]["base_model"] == "gpt-4.1-nano-2025-04-14"
    assert all(len(g["training_file"]["sha256"]) == 64 for g in line)

    job = server.by_name("base")[0]["id"]
    saved = server.http.get(f"/fine_tuning/jobs/{job}/checkpoints").json()["data"]
    early = min(saved, key=lambda checkpoint: checkpoint["step_number"])
    (found,) = trace(repo, early["fine_tuned_model_checkpoint"])
    assert (found["name"], found["checkpoint_step"]) == ("base", early["step_number"])
    text = repo.run("trace", model, "--server", server.url).out
    assert text.count(first[:10]) == 3
    assert "A chain" in text


@pytest.mark.slow
def test_another_owners_model_is_traced_and_said_to_be_theirs(tmp_path: Path, repo: Repo, server: Recording) -> None:
    theirs = Repo.make(tmp_path / "theirs", server.url)
    theirs.write("reconciler.yaml", "owner: example.com/theirs\n")
    theirs.spec("base")
    theirs.apply("--wait")
    by_hand = server.http.post(
        "/fine_tuning/jobs",
        json={
            "model": theirs.jobs()["base"]["fine_tuned_model"],
            "training_file": server.jobs()[0]["training_file"],
            "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}},
        },
    ).json()["id"]
    repo.spec("other", seed=8)
    wait_for(server, by_hand)
    model = next(job["fine_tuned_model"] for job in server.jobs() if job["id"] == by_hand)
    hand, made = trace(repo, model)
    assert (hand["owner"], hand["ours"], hand["name"], hand["commit"], hand["revision"]) == (
        None,
        False,
        None,
        None,
        None,
    )
    assert (made["owner"], made["ours"], made["name"]) == ("example.com/theirs", False, "base")
    assert (made["committed"], len(made["training_file"]["sha256"])) == (None, 16)
    text = repo.run("trace", model, "--server", server.url).out
    assert "made outside the specs" in text
    assert "belongs to example.com/theirs" in text

    (repo.root / "specs/other.yaml").unlink()
    repo.run("import", by_hand, "--name", "mine")
    adopted = history(repo, "mine")["attempts"]
    assert [(a["job_id"], a["committed"]) for a in adopted] == [(by_hand, False)]
    first = commit(repo, "Adopt it")
    assert history(repo, "mine")["attempts"][0]["commit"] == first
    kept = trace(repo, model)[0]
    assert (kept["name"], kept["commit"], kept["owner"], kept["ours"]) == ("mine", first, None, True)
    assert len(kept["training_file"]["sha256"]) == 16, "a spec that names a file by its id knows no more than its name"


def wait_for(server: Recording, job_id: str) -> None:
    within(PATIENCE, lambda: server.http.get(f"/fine_tuning/jobs/{job_id}").json()["status"] == "succeeded")


def test_names_that_nobody_knows_are_refused(repo: Repo, server: Recording, tmp_path: Path) -> None:
    repo.spec("shop")
    where = ("--server", server.url)
    refused = repo.run("history", "shpo", *where, code=64)
    assert "No spec and no job of ours is called 'shpo'. Did you mean 'shop'?" in refused.err
    refused = repo.run("trace", "ft:no\x1b[31m:such", *where, code=64)
    assert "made 'ft:no\\x1b[31m:such'" in refused.err
    assert refused.out == ""
    nowhere = tmp_path / "no" / "page.html"
    failed = repo.run("history", "shop", *where, "--html", str(nowhere), code=1)
    assert "cannot be written" in failed.err

    page = tmp_path / "page.html"
    empty = repo.run("history", "shop", *where, "--html", str(page))
    assert empty.out == "Note: no commits: the repository has none yet\nshop has no job yet.\n"
    shown = Page(page.read_text(encoding="utf-8"))
    assert shown.paths() == []
    assert "shop has no job yet." in shown.text
