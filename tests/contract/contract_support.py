"""What the contract tests do again and again: run a server, make rows, upload, create, wait."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import openai
from openai.types import FileObject
from openai.types.fine_tuning import FineTuningJob

from reconciler.api.types import MethodType

KEY = "contract-key"
PROGRAM = """
import asyncio, pathlib, sys
from reconciler.server.context import Settings
from reconciler.server.serve import serve
directory, settings, speed = pathlib.Path(sys.argv[1]), Settings(api_key=sys.argv[2]), float(sys.argv[3])
asyncio.run(serve(directory, port=0, settings=settings, speed=speed, ready=lambda url: print(url, flush=True)))
"""
T = TypeVar("T")


@contextlib.contextmanager
def running_server(directory: Path, *, speed: float = 20.0) -> Iterator[str]:
    """Run a server on ``directory`` and give its base URL; it must end well when asked to."""
    log = directory / "contract.log"
    command = [sys.executable, "-c", PROGRAM, str(directory), KEY, str(speed)]
    with log.open("wb") as output, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=output) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().decode().strip()
            assert url, f"the server ended:\n{log.read_text()}"
            yield url
            assert process.poll() is None, f"the server died:\n{log.read_text()}"
        finally:
            process.terminate()
            code = process.wait(timeout=20)
    assert code == 0, f"the server ended with {code}:\n{log.read_text()}"
    assert "Traceback" not in log.read_text(), log.read_text()


def within(seconds: float, look: Callable[[], T | None]) -> T:
    """Look again and again until there is something to see."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)
    return seen


def row(method: MethodType, number: int) -> dict[str, Any]:
    asked = [
        {"role": "system", "content": "Answer with the sum alone."},
        {"role": "user", "content": f"{number} + {number + 1} = ?"},
    ]
    answer = {"role": "assistant", "content": str(2 * number + 1)}
    if method == "dpo":
        wordy = {"role": "assistant", "content": f"I think it may be {2 * number + 1}."}
        return {"input": {"messages": asked}, "preferred_output": [answer], "non_preferred_output": [wordy]}
    if method == "reinforcement":
        return {"messages": asked, "sum": str(2 * number + 1)}
    return {"messages": [*asked, answer]}


def jsonl(method: MethodType, rows: int) -> bytes:
    return b"".join(json.dumps(row(method, number)).encode() + b"\n" for number in range(rows))


@dataclass(frozen=True)
class Work:
    """Shorthand for the steps that every test of a job needs."""

    client: openai.OpenAI
    lenient: openai.OpenAI

    def upload(self, method: MethodType = "supervised", rows: int = 24) -> str:
        return self.upload_bytes(jsonl(method, rows)).id

    def upload_bytes(self, content: bytes, name: str = "train.jsonl") -> FileObject:
        made = self.client.files.create(file=(name, content), purpose="fine-tune")
        return self.client.files.wait_for_processing(made.id, poll_interval=0.02, max_wait_seconds=20)

    def create(self, kind: MethodType = "supervised", /, **settings: Any) -> FineTuningJob:
        body: dict[str, Any] = {"model": "gpt-4o-mini-2024-07-18", "seed": 7, **settings}
        body.setdefault("training_file", self.upload(kind))
        return self.client.fine_tuning.jobs.create(**body)

    def reach(self, job_id: str, *statuses: str) -> FineTuningJob:
        """Wait until the job has one of ``statuses``; another end is a failure."""
        ends = {"succeeded", "failed", "cancelled"} | set(statuses)
        job = within(30, lambda: ended if (ended := self.retrieve(job_id)).status in ends else None)
        assert job.status in statuses, job.to_json()
        return job

    def retrieve(self, job_id: str) -> FineTuningJob:
        return self.lenient.fine_tuning.jobs.retrieve(job_id)

    def trained(self, kind: MethodType = "supervised", /, **settings: Any) -> FineTuningJob:
        """Create a job and wait for its model. The answer is read again, strictly."""
        job = self.reach(self.create(kind, **settings).id, "succeeded")
        return self.client.fine_tuning.jobs.retrieve(job.id)


@contextlib.contextmanager
def work_on(url: str) -> Iterator[Work]:
    """Give a worker with a strict client and one without strictness, for the server at ``url``.

    The strict one is the outside authority: it refuses every answer that is not in the published shape. A paused
    job needs the other: the published statuses lack that one.
    """
    with (
        openai.OpenAI(base_url=url, api_key=KEY, max_retries=0, timeout=30, _strict_response_validation=True) as strict,
        openai.OpenAI(base_url=url, api_key=KEY, max_retries=0, timeout=30) as lenient,
    ):
        yield Work(strict, lenient)
