"""Killed at any moment, client or server: the next run finds what is there and goes on; nothing is bought twice."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import ledger
import pytest
from ports import kept_port
from program import Repo, chat, end
from recording import PATIENCE, observer, within

SPECS = ("base", "chained", "long", "twin-1", "twin-2")


def several_specs(root: Path, server: str) -> Repo:
    """Five jobs, one of them built on another: some two seconds of work."""
    repo = Repo.make(root, server, "servers: {lab: {base_url: 'http://127.0.0.1:1/v1', lag: 1}}\n")
    repo.rows("base.jsonl", chat(12, word="times"))
    repo.spec("base", training_file="data/base.jsonl", priority=1)
    repo.spec("chained", model={"job": "base"})
    repo.spec("long", hyperparameters={"n_epochs": 20})
    repo.spec("twin", matrix={"seed": [1, 2]})
    return repo


def check_bought_once(directory: Path) -> None:
    ledger.check_whole(directory)
    sent = ledger.files(directory)
    assert len(sent) == len(set(sent)) == 2
    assert ledger.names(directory) == dict.fromkeys(SPECS, 1)
    assert {job["status"] for job in ledger.jobs(directory)} == {"succeeded"}


def seeds(few: int) -> list[object]:
    """A few kills every time, more where time allows, fifty before a release."""
    marks: list[list[pytest.MarkDecorator]] = [[]] * few + [[pytest.mark.slow]] * 4 + [[pytest.mark.soak]] * (46 - few)
    return [pytest.param(n, marks=mark) for n, mark in enumerate(marks)]


def until_a_moment(process: subprocess.Popen[str], chance: random.Random) -> None:
    """Wait for some line of progress, so that all of the way is hit alike however fast the machine is."""
    assert process.stderr is not None
    for _ in range(chance.randrange(_LINES)):
        process.stderr.readline()
    time.sleep(chance.uniform(0, 0.05))


_LINES = 30
"""About as many lines as a whole run says."""


@pytest.mark.parametrize("seed", seeds(4))
def test_apply_killed_at_a_random_moment_buys_nothing_twice(tmp_path: Path, seed: int) -> None:
    repo = several_specs(tmp_path / "repo", "local")
    chance = random.Random(seed)
    for _ in range(2):
        process = repo.start("apply", "--auto-approve", "--wait")
        until_a_moment(process, chance)
        end(process)
    repo.run("apply", "--auto-approve", "--wait")
    check_bought_once(repo.root / ".reconciler")
    assert repo.run("plan", "--detailed-exitcode").code == 0


@contextlib.contextmanager
def serving(repo: Repo, port: int) -> Iterator[subprocess.Popen[str]]:
    process = repo.start("serve", "--port", str(port), "--directory", "lab", "--speed", "2")
    try:
        with observer(f"http://127.0.0.1:{port}") as http:
            within(PATIENCE, lambda: process.poll() is not None or answers(http))
        assert process.poll() is None, end(process)
        yield process
    finally:
        end(process)


def answers(http: httpx.Client) -> bool:
    try:
        return http.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def port() -> Iterator[int]:
    with kept_port() as port:
        yield port


@pytest.mark.parametrize("seed", seeds(4))
def test_a_server_killed_under_apply_buys_nothing_twice(tmp_path: Path, port: int, seed: int) -> None:
    repo = several_specs(tmp_path / "repo", "lab")
    text = (repo.root / "reconciler.yaml").read_text()
    repo.write("reconciler.yaml", text.replace("127.0.0.1:1/", f"127.0.0.1:{port}/"))
    chance = random.Random(seed)
    with serving(repo, port) as server:
        process = repo.start("apply", "--auto-approve", "--wait")
        until_a_moment(process, chance)
        server.kill()
        server.wait()
    with serving(repo, port) as server:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=chance.uniform(0.0, 3))
        repo.check(end(process))
        repo.run("apply", "--auto-approve", "--wait")
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=PATIENCE) == 0
    check_bought_once(repo.root / "lab")
