"""What the contract tests do again and again: run a server, make rows, upload, create, wait."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
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
directory, settings, speed, trainer = pathlib.Path(sys.argv[1]), Settings(api_key=sys.argv[2]), *sys.argv[3:]
asyncio.run(serve(
    directory, port=0, settings=settings, speed=float(speed), trainer=trainer, ready=lambda url: print(url, flush=True)
))
"""
CATALOGUE = """
models:
  tiny:
    path: {path}
    context: 384
    answer: 8
    generations: 2
    lora: {{rank: 8}}
    learning_rate: {{supervised: 0.01, dpo: 0.01, reinforcement: 0.01}}
  thinker: {{path: {path}, chat_template: thinker.jinja, reasoning_effort: true}}
"""
THINKER = """
{%- if reasoning_effort %}Think with {{ reasoning_effort }} effort.{% endif %}
{%- for message in messages %}{{ message.content }}{% endfor %}
"""
T = TypeVar("T")


@contextlib.contextmanager
def running_server(directory: Path, *, speed: float = 20.0, tiny: Path | None = None) -> Iterator[str]:
    """Run a server on ``directory`` and give its base URL; it must end well when asked to.

    Where there is a ``tiny`` model it trains that for real, else it simulates.
    """
    if tiny is not None:
        (directory / "models.yaml").write_text(CATALOGUE.format(path=tiny))
        (directory / "thinker.jinja").write_text(THINKER)
    log = directory / "contract.log"
    command = [sys.executable, "-c", PROGRAM, str(directory), KEY, str(speed), "trl" if tiny else "simulated"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    environment = {**kept, "OMP_NUM_THREADS": "1", "HOME": str(directory)}
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=output, env=environment) as process,
    ):
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
    """Look again and again, ever less often, until there is something to see."""
    deadline, pause = time.monotonic() + seconds, 0.02
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(pause)
        pause = min(0.3, 1.1 * pause)
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
    return lines(row(method, number) for number in range(rows))


def lines(rows: Iterable[object]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@dataclass(frozen=True)
class Work:
    """Shorthand for the steps that every test of a job needs, with a base to train and seconds to wait for a job."""

    client: openai.OpenAI
    lenient: openai.OpenAI
    base: str
    patience: float

    def upload(self, method: MethodType = "supervised", rows: int = 24) -> str:
        return self.upload_bytes(jsonl(method, rows)).id

    def upload_rows(self, rows: Iterable[object]) -> str:
        return self.upload_bytes(lines(rows)).id

    def upload_bytes(self, content: bytes, name: str = "train.jsonl") -> FileObject:
        made = self.client.files.create(file=(name, content), purpose="fine-tune")
        return self.client.files.wait_for_processing(made.id, poll_interval=0.02, max_wait_seconds=20)

    def create(self, kind: MethodType = "supervised", /, **settings: Any) -> FineTuningJob:
        body: dict[str, Any] = {"model": self.base, "seed": 7, **settings}
        body.setdefault("training_file", self.upload(kind))
        return self.client.fine_tuning.jobs.create(**body)

    def lasting(self, **settings: Any) -> FineTuningJob:
        """Create a job that a simulating server trains for half a minute: it ends in no test that does not end it."""
        file = self.upload(rows=2500)
        return self.create(model="simulated-slow", training_file=file, hyperparameters={"n_epochs": 50}, **settings)

    def reach(self, job_id: str, *statuses: str) -> FineTuningJob:
        """Wait until the job has one of ``statuses``; another end is a failure."""
        ends = {"succeeded", "failed", "cancelled"} | set(statuses)
        job = within(self.patience, lambda: ended if (ended := self.retrieve(job_id)).status in ends else None)
        assert job.status in statuses, job.to_json()
        return job

    def retrieve(self, job_id: str) -> FineTuningJob:
        return self.lenient.fine_tuning.jobs.retrieve(job_id)

    def trained(self, kind: MethodType = "supervised", /, **settings: Any) -> FineTuningJob:
        """Create a job and wait for its model. The answer is read again, strictly."""
        job = self.reach(self.create(kind, **settings).id, "succeeded")
        return self.client.fine_tuning.jobs.retrieve(job.id)


@contextlib.contextmanager
def work_on(url: str, base: str = "gpt-4o-mini-2024-07-18", patience: float = 30) -> Iterator[Work]:
    """Give a worker with a strict client and one without strictness, for the server at ``url``.

    The strict one is the outside authority: it refuses every answer that is not in the published shape. A paused
    job needs the other: the published statuses lack that one.
    """
    settings: dict[str, Any] = {"base_url": url, "api_key": KEY, "max_retries": 0, "timeout": patience}
    with (
        openai.OpenAI(**settings, _strict_response_validation=True) as strict,
        openai.OpenAI(**settings) as lenient,
    ):
        yield Work(strict, lenient, base, patience)
