"""Servers that a test may end at any moment, in a process of their own and in this one, and the rows they need."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import httpx
from fastapi.testclient import TestClient

from reconciler.server.app import create_app
from reconciler.server.context import Settings
from reconciler.server.engine import Engine
from reconciler.server.store import Store
from reconciler.server.trainers.base import Trainer
from reconciler.server.trainers.simulated import SimulatedTrainer

Client = httpx.Client | TestClient
SETTINGS: dict[str, Any] = {"seed": 11, "hyperparameters": {"n_epochs": 4, "batch_size": 4}}
"""A job of forty steps, whose story is the same however often it is interrupted."""
LASTING: dict[str, Any] = {"model": "simulated-slow", "hyperparameters": {"n_epochs": 50}}
"""A job that ends in no test that does not end it: at a speed of 1 it trains for more than a minute."""
PROGRAM = """
import asyncio, pathlib, sys
from reconciler.server.serve import serve
directory, speed = pathlib.Path(sys.argv[1]), float(sys.argv[2])
asyncio.run(serve(directory, port=0, speed=speed, ready=lambda url: print(url, flush=True)))
"""


class Serve(Protocol):
    """Starts an application on a directory; it ends with the test."""

    def __call__(
        self, directory: Path, *, speed: float = ..., settings: Settings | None = ..., clock: Callable[[], float] = ...
    ) -> TestClient: ...


class ServeProcess:
    """Serves ``directory`` until the block ends. ``kill`` ends it as a power cut would; ``start`` brings it back."""

    def __init__(self, directory: Path, *, speed: float = 1.0) -> None:
        self.directory = directory
        self.speed = speed
        self.client = httpx.Client()
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, "-c", PROGRAM, str(self.directory), str(self.speed)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        url = self._process.stdout.readline().strip()
        assert url, "the server did not start"
        self.client.close()
        self.client = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal to the process that was started here, and wait; return its exit code."""
        assert self._process is not None
        process, self._process = self._process, None
        process.send_signal(number)
        code = process.wait(20)
        assert process.stdout is not None
        process.stdout.close()
        return code

    def freeze(self) -> None:
        """Stop the process, and wait until it has really stopped."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @property
    def trains(self) -> bool:
        """Whether it is the one of several on its directory that trains."""
        answer = self.client.get(self.client.base_url.copy_with(path="/healthz"))
        return bool(answer.json()["training"])

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self.kill()
        self.client.close()


class Engines:
    """Starts engines on one directory and ends them with the test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.running: list[tuple[Engine, Store]] = []

    def start(self, trainer: Trainer | None = None, **options: Any) -> tuple[Engine, Store]:
        """Start an engine; the first one of a test is waited for until it trains."""
        store = Store(self.directory)
        engine = Engine(store, trainer or SimulatedTrainer(speed=4), **options)
        engine.start()
        self.running.append((engine, store))
        if len(self.running) == 1:
            wait(lambda: engine.training)
        return engine, store

    def alone(self, trainer: Trainer) -> tuple[Engine, TestClient]:
        """Start an engine, and an application that no other engine trains for."""
        engine, store = self.start(trainer)
        return engine, TestClient(create_app(store, engine), base_url="http://test/v1/")

    def end(self, engine: Engine) -> None:
        (pair,) = [pair for pair in self.running if pair[0] is engine]
        self.running.remove(pair)
        engine.stop()
        pair[1].close()


def idle(engine: Engine) -> bool:
    """Whether no trainer of an engine is at work."""
    return all(worker.done for worker in list(engine._workers.values()))


def rows(count: int = 40, *, word: str = "seven") -> bytes:
    """Chat rows that are good for supervised training."""
    chats = (
        {"messages": [{"role": "user", "content": f"{word} plus {n}?"}, {"role": "assistant", "content": str(7 + n)}]}
        for n in range(count)
    )
    return b"".join(json.dumps(chat).encode() + b"\n" for chat in chats)


def upload(client: Client, content: bytes | None = None, name: str = "train.jsonl") -> str:
    files = {"file": (name, rows() if content is None else content)}
    answer = client.post("files", data={"purpose": "fine-tune"}, files=files)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def create(client: Client, training_file: str, **settings: Any) -> dict[str, Any]:
    body = {"model": "gpt-4o-mini", "training_file": training_file, "seed": 7, **settings}
    answer = client.post("fine_tuning/jobs", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def retrieve(client: Client, job_id: str) -> dict[str, Any]:
    answer = client.get(f"fine_tuning/jobs/{job_id}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def reach(client: Client, job_id: str, *statuses: str, seconds: float = 30) -> dict[str, Any]:
    """Wait until a job has one of these statuses."""
    deadline = time.monotonic() + seconds
    while (job := retrieve(client, job_id))["status"] not in statuses:
        assert job["status"] not in {"succeeded", "failed", "cancelled"}, job
        assert time.monotonic() < deadline, job
        time.sleep(0.02)
    return job


def everything(client: Client, job_id: str, what: str) -> list[dict[str, Any]]:
    """All events or checkpoints of a job, oldest first."""
    found: list[dict[str, Any]] = []
    while True:
        after = {"after": found[-1]["id"]} if found else {}
        page = client.get(f"fine_tuning/jobs/{job_id}/{what}", params={"limit": 100, **after}).json()
        found += page["data"]
        if not page["has_more"]:
            return found[::-1]


def story(client: Client, job: dict[str, Any]) -> dict[str, Any]:
    """What training made of a job: all that must be the same however often it was interrupted."""
    steps = [e["data"] for e in everything(client, job["id"], "events") if e["type"] == "metrics"]
    kept = [(c["step_number"], c["metrics"]) for c in everything(client, job["id"], "checkpoints")]
    results = client.get(f"files/{job['result_files'][0]}/content").text
    return {"steps": steps, "checkpoints": kept, "results": results, "tokens": job["trained_tokens"]}


def trained(client: Client, **settings: Any) -> dict[str, Any]:
    """A job that has its model, trained and validated on one file."""
    file = upload(client)
    return reach(client, create(client, file, validation_file=file, **settings)["id"], "succeeded")


def wait(reached: Callable[[], Any], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)


def steps(client: Client, job_id: str) -> int:
    """How many steps a job has told of."""
    return sum(event["type"] == "metrics" for event in everything(client, job_id, "events"))


def wait_for_step(client: Client, job_id: str, *, after: int = 0) -> None:
    """Wait until a job has told of more steps than so many."""
    wait(lambda: steps(client, job_id) > after)
