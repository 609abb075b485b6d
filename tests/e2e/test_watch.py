"""``reconciler watch`` as people leave it running: a process, files that change, a server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ports import kept_port
from program import LONG, Repo, Result, chat
from recording import PATIENCE, Recording, observer, recording, within

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")


class Watching:
    """A watch under way; its output goes to files that tests read while it runs."""

    def __init__(self, repo: Repo, *arguments: str, form: str = "text") -> None:
        self.repo = repo
        self._files = [repo.root / ".out.txt", repo.root / ".err.txt"]
        with contextlib.ExitStack() as stack:
            out, err = (stack.enter_context(file.open("w")) for file in self._files)
            self.process = subprocess.Popen(
                repo.command("watch", "--interval", "2", "--log-format", form, *arguments),
                cwd=repo.root, env=repo.environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            )  # fmt: skip

    @property
    def text(self) -> str:
        return "".join(file.read_text() for file in self._files)

    def until(self, words: str) -> None:
        def holds() -> bool:
            assert self.process.poll() is None, self.text
            return words in self.text

        try:
            within(PATIENCE, holds)
        except AssertionError:
            raise AssertionError(f"{words!r} is not said: {self.text}") from None

    def end(self, how: signal.Signals = signal.SIGTERM) -> Result:
        _end(self.process, how)
        result = Result(self.process.returncode, *(file.read_text() for file in self._files))
        self.repo.check(result)
        return result


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Recording]:
    with recording(tmp_path / "server", speed=20.0) as server:
        yield server


@contextlib.contextmanager
def watching(repo: Repo, *arguments: str, form: str = "text") -> Iterator[Watching]:
    made = Watching(repo, *arguments, form=form)
    try:
        yield made
    finally:
        made.end(signal.SIGKILL)


def test_saved_edited_broken_mended_and_removed_specs_are_followed(tmp_path: Path, server: Recording) -> None:
    repo = Repo.make(tmp_path / "repo", server.url)
    repo.spec("a")
    with watching(repo, "--auto-approve") as watch:
        server.until("a", "succeeded")
        repo.spec("b", **LONG)
        server.until("b", "running")
        server.forget()
        (repo.root / "specs/b.yaml").rename(repo.root / "kept.yaml")  # as some editors save
        repo.write("specs/b.yaml", "")
        (repo.root / "kept.yaml").rename(repo.root / "specs/b.yaml")
        repo.write("specs/a.yaml", "name: a\nmodle: x\n")
        watch.until("specs/a.yaml:2:1: modle")
        time.sleep(3)
        assert server.changes == []
        repo.spec("a")
        watch.until("All specs are good again.")
        repo.remove("b")
        server.until("b", "cancelled")
        assert server.creates == 0
        assert watch.end().code == 0


@pytest.mark.slow
def test_new_training_data_is_bought_once_it_is_whole(tmp_path: Path, server: Recording) -> None:
    repo = Repo.make(tmp_path / "repo", server.url)
    repo.spec("a")
    with watching(repo, "--auto-approve"):
        server.until("a", "succeeded")
        for rows in (12, 20, 40):
            repo.rows("train.jsonl", chat(rows, word="times"))
            time.sleep(0.5)
        within(PATIENCE, lambda: len(server.by_name("a")) == 2)
        time.sleep(1)
        assert len(server.by_name("a")) == 2


def test_drift_is_healed_and_edits_are_not_followed(tmp_path: Path, server: Recording) -> None:
    repo = Repo.make(tmp_path / "repo", server.url)
    repo.spec("a", **LONG)
    repo.apply()
    server.until("a", "running")
    with watching(repo, "--heal") as watch:
        watch.until("Healing")
        repo.spec("b")
        server.http.post(f"/fine_tuning/jobs/{server.by_name('a')[0]['id']}/pause").raise_for_status()
        watch.until("resumed a")
        assert server.by_name("b") == []


def test_healing_leaves_alone_what_newer_specs_have_started(tmp_path: Path, server: Recording) -> None:
    repo = Repo.make(tmp_path / "repo", server.url)
    repo.spec("a", **LONG)
    repo.apply()
    server.until("a", "running")
    with watching(repo, "--heal") as watch:
        watch.until("1 jobs are ours")
        repo.spec("b", **LONG)
        repo.apply()
        watch.until("b: running")
        server.http.post(f"/fine_tuning/jobs/{server.by_name('a')[0]['id']}/pause").raise_for_status()
        watch.until("resumed a")
        assert server.statuses("b") == ["running"]


def test_healing_leaves_alone_what_an_edited_spec_has_started(tmp_path: Path, server: Recording) -> None:
    repo = Repo.make(tmp_path / "repo", server.url)
    repo.spec("a")
    repo.spec("b", **LONG)
    repo.apply()
    server.until("a", "succeeded")
    server.until("b", "running")
    with watching(repo, "--heal", "--auto-approve") as watch:
        watch.until("2 jobs are ours")
        repo.spec("a", **LONG, seed=5)
        repo.apply()
        watch.until("Newer specs have started a: left alone")
        server.http.post(f"/fine_tuning/jobs/{server.by_name('b')[0]['id']}/pause").raise_for_status()
        watch.until("resumed b")
        assert [job["status"] for job in server.by_name("a")].count("running") == 1
        assert len(server.by_name("a")) == 2


def test_observing_reports_drift_and_changes_nothing(tmp_path: Path, server: Recording) -> None:
    repo = Repo.make(tmp_path / "repo", server.url)
    repo.spec("a", **LONG)
    repo.apply()
    server.until("a", "running")
    server.forget()
    with watching(repo, "--observe", form="json") as watch:
        watch.until("No drift.")
        server.http.post(f"/fine_tuning/jobs/{server.by_name('a')[0]['id']}/pause").raise_for_status()
        watch.until("drift: a is paused")
        assert server.changes == []
        result = watch.end()
    assert result.out == ""
    lines = [json.loads(line) for line in result.err.splitlines()]
    drift = {"event": "drift", "spec": "a", "level": "warning"}
    assert [drift.items() <= line.items() for line in lines].count(True) == 1


@pytest.mark.slow
def test_a_branch_is_followed_apart_from_any_work_tree(tmp_path: Path, server: Recording) -> None:
    repo = Repo.make(tmp_path / "repo", server.url, XDG_CACHE_HOME=str(tmp_path / "cache"))
    repo.spec("a")
    git(repo.root, "init", "--quiet", "--initial-branch", "main")
    commit(repo.root)
    with watching(replace(repo, root=tmp_path), "--git", "repo", "--auto-approve") as watch:
        server.until("a", "succeeded")
        repo.spec("b", **LONG)
        time.sleep(2.5)
        assert server.by_name("b") == []
        commit(repo.root)
        server.until("b", "running")
        (clone,) = (tmp_path / "cache" / "reconciler").glob("*/.git")
        for setting in (("filter.full.smudge", "false"), ("filter.full.required", "true")):
            git(clone, "config", *setting)
        (repo.root / ".gitattributes").write_text("specs/moved.yaml filter=full\n")
        (repo.root / "specs" / "b.yaml").rename(repo.root / "specs" / "moved.yaml")
        commit(repo.root)
        watch.until("main cannot be checked out")
        time.sleep(2.5)
        assert not (clone.parent / "specs" / "b.yaml").exists()
        assert [job["status"] for job in server.by_name("b")] == ["running"]
        repo.remove("moved")
        commit(repo.root)
        server.until("b", "cancelled")
        assert watch.end().code == 0
    assert not (tmp_path / ".reconciler").exists()
    assert not (repo.root / ".reconciler").exists()


def git(root: Path, *arguments: str) -> None:
    who = ("-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(root), *who, *arguments], check=True)


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "a change")


@pytest.fixture
def port() -> Iterator[int]:
    with kept_port() as port:
        yield port


@pytest.mark.slow
def test_a_webhook_shows_an_end_at_once(tmp_path: Path, port: int) -> None:
    secret = {"RECONCILER_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
    repo = Repo.make(tmp_path / "repo", **secret)
    served = subprocess.Popen(
        repo.command("serve", "--port", "0", "--webhook", f"http://127.0.0.1:{port}/webhook"),
        cwd=repo.root, env=repo.environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert served.stdout is not None
        repo = replace(repo, server=served.stdout.readline().split()[1])
        repo.spec("a", **LONG)
        repo.apply()
        within(PATIENCE, lambda: repo.jobs()["a"]["status"] == "running")
        listens = ("--observe", "--interval", "3600", "--listen", str(port))
        with watching(repo, *listens) as watch, observer(f"http://127.0.0.1:{port}") as ear:
            watch.until("1 running")
            assert ear.get("/readyz").json()["ok"]
            assert ear.post("/webhook", json={}).status_code == 401
            assert 'reconciler_jobs{status="running"} 1.0' in ear.get("/metrics").text
            job_id = repo.jobs()["a"]["job_id"]
            ear.post(f"{repo.server}/fine_tuning/jobs/{job_id}/cancel").raise_for_status()
            watch.until("a: cancelled")
    finally:
        _end(served, signal.SIGTERM)
        served.communicate()


def test_without_a_terminal_and_a_word_nothing_is_bought(tmp_path: Path, server: Recording) -> None:
    repo = Repo.make(tmp_path / "repo", server.url)
    repo.spec("a")
    with watching(repo) as watch:
        watch.until("Start this with --auto-approve")
        time.sleep(3)
        assert server.changes == []
        assert watch.text.count("--auto-approve") == 1


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_success(tmp_path: Path, server: Recording, how: signal.Signals) -> None:
    with watching(Repo.make(tmp_path / "repo", server.url), "--interval", "3600") as watch:
        watch.until("0 jobs are ours")
        started = time.monotonic()
        result = watch.end(how)
        assert result.code == 0, result.said
        assert time.monotonic() - started < 15  # after 20 s it would be cancelled
        assert "Ended." in result.out


@pytest.mark.slow
def test_a_server_that_is_away_is_waited_for(tmp_path: Path, port: int) -> None:
    repo = Repo.make(tmp_path / "repo", f"http://127.0.0.1:{port}/v1")
    repo.spec("a")
    with watching(repo, "--auto-approve") as watch:
        watch.until("Going on trying")
        served = subprocess.Popen(
            repo.command("serve", "--port", str(port), "--directory", "state"),
            cwd=repo.root, env=repo.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            watch.until("The server answers again.")
            watch.until("created a")
            assert watch.text.count("Going on trying") == 1
        finally:
            _end(served, signal.SIGTERM)


def _end(process: subprocess.Popen[Any], how: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(how)
    process.wait(timeout=PATIENCE)


def test_a_second_watch_of_a_work_tree_is_refused(tmp_path: Path, server: Recording) -> None:
    repo = Repo.make(tmp_path / "repo", server.url)
    with watching(repo) as watch:
        watch.until("Watching")
        result = repo.run("watch", code=1)
        assert f"process {watch.process.pid}" in result.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--recreate", "a"], 64, "reconciler apply --recreate"),
        (["-"], 64, "cannot be watched"),
        (["--interval", "0"], 64, "--interval"),
        (["nowhere"], 64, "nowhere"),
        (["--git", "nowhere"], 1, "main cannot be fetched"),
        (["--server", "http://127.0.0.1:1/v1", "--owner", ""], 0, ""),
    ],
)
def test_what_cannot_be_watched_is_refused_in_words(
    tmp_path: Path, server: Recording, arguments: list[str], code: int, words: str
) -> None:
    repo = Repo.make(tmp_path / "repo", server.url, XDG_CACHE_HOME=str(tmp_path / "cache"))
    result = repo.run("watch", "--looks", "1", *arguments, code=code)
    assert words in result.err
