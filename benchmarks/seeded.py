"""Makes a repository of specs, and a server's database in which every one of them has been trained.

Usage: ``python seeded.py DIRECTORY OWNER SPECS JOBS_EACH [EVERY]``. The repository is DIRECTORY/repository, the
server's directory DIRECTORY/server. Of each spec's jobs the newest is of its present revision, the others are of
older ones. Most have succeeded; the job of one spec in EVERY (20; 0: none) is active: paused, as its spec wants it, so
that nothing trains meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reconciler.apply.body import create_body
from reconciler.observe.ownership import Ownership
from reconciler.server import documents, jobs
from reconciler.server.documents import Document
from reconciler.server.store import Store
from reconciler.spec.desired import Desired
from reconciler.spec.load import load

_DAY = 86_400
_ROWS = 100
_TEAMS = ("billing", "claims", "legal", "search", "support", "travel", "voice")
_FACTS = (("km", "m", 1000), ("h", "min", 60), ("kg", "g", 1000), ("d", "h", 24), ("l", "ml", 1000))
_DATA = {"supervised": 40, "dpo": 8, "reinforcement": 4}
_SETTINGS = {
    "supervised": "hyperparameters:\n  n_epochs: {epochs}\n  batch_size: auto\n  learning_rate_multiplier: 1.8\n",
    "dpo": "hyperparameters: {{n_epochs: {epochs}, beta: 0.1}}\n",
    "reinforcement": """\
grader:
  type: multi
  name: both
  calculate_output: 0.7 * exact + 0.3 * close
  graders:
    exact:
      type: string_check
      name: exact
      operation: eq
      input: "{{{{sample.output_text}}}}"
      reference: "{{{{item.answer}}}}"
    close:
      type: text_similarity
      name: close
      evaluation_metric: fuzzy_match
      input: "{{{{sample.output_text}}}}"
      reference: "{{{{item.answer}}}}"
hyperparameters: {{n_epochs: {epochs}, reasoning_effort: low}}
""",
}
_SPEC = """\
# {team}: answers in the house style, {epochs} passes over the data of the last quarter.
name: {name}
model: gpt-4.1-mini-2025-04-14
training_file: ../data/{method}-{data:02}.jsonl
validation_file: ../data/{method}-00.jsonl
suffix: {team}-{number}
seed: {number}
method: {method}
state: {state}
{settings}wandb: {{project: {team}, name: {name}, tags: [nightly]}}
metadata:
  team: {team}
  ticket: FT-{number}
"""


def method_of(number: int) -> str:
    """Say how a spec trains: seven in ten supervised, two dpo, one reinforcement."""
    return ("supervised", "dpo", "reinforcement")[(number % 10 >= 7) + (number % 10 == 9)]


def write_repository(root: Path, owner: str, specs: int, every: int) -> None:
    """Write specs, one a file, that share data files which have been at rest for a day."""
    data = root / "specs" / "data"
    data.mkdir(parents=True)
    (root / "reconciler.yaml").write_text(f"owner: {owner}\n")
    for method, count in _DATA.items():
        for number in range(count):
            file = data / f"{method}-{number:02}.jsonl"
            file.write_text("".join(f"{json.dumps(_row(method, n, number))}\n" for n in range(_ROWS)))
            os.utime(file, (time.time() - _DAY,) * 2)
    for number in range(specs):
        method, team = method_of(number), _TEAMS[number % len(_TEAMS)]
        name = f"{team}-{number:04}"
        file = root / "specs" / team / f"{name}.yaml"
        file.parent.mkdir(exist_ok=True)
        settings = _SETTINGS[method].format(epochs=1 + number % 4)
        file.write_text(
            _SPEC.format(
                name=name, team=team, number=number, method=method, data=number // 10 % _DATA[method],
                epochs=1 + number % 4, settings=settings,
                state="paused" if every and number % every == 0 else "running",
            )
        )  # fmt: skip


def _row(method: str, number: int, file: int) -> dict[str, Any]:
    unit, small, factor = _FACTS[number % len(_FACTS)]
    amount = number + 100 * file
    answer = f"{amount} {unit} are {amount * factor} {small}."
    messages = [
        {"role": "system", "content": "You convert units and answer in one short sentence."},
        {"role": "user", "content": f"How many {small} are {amount} {unit}? It is for the report of this quarter."},
    ]
    right = {"role": "assistant", "content": answer}
    if method == "dpo":
        wrong = {"role": "assistant", "content": f"About {amount * factor + 1} {small}, I think."}
        return {"input": {"messages": messages}, "preferred_output": [right], "non_preferred_output": [wrong]}
    if method == "reinforcement":
        return {"messages": messages, "answer": answer}
    return {"messages": [*messages, right]}


def write_jobs(directory: Path, owner: str, desired: tuple[Desired, ...], each: int) -> None:
    """Fill a server's database, oldest job first, all in one transaction."""
    store = Store(directory)
    try:
        with store.write() as db:
            for document in _documents(owner, desired, each):
                jobs.insert(db, document)
    finally:
        store.close()


def _documents(owner: str, desired: tuple[Desired, ...], each: int) -> Iterator[Document]:
    born = int(time.time()) - 90 * _DAY
    step = 80 * _DAY // (len(desired) * each)
    for age in reversed(range(each)):
        for number, spec in enumerate(desired):
            yield _document(spec, owner, number, age, born)
            born += step


def _document(spec: Desired, owner: str, number: int, age: int, born: int) -> Document:
    digest = hashlib.sha256(f"{spec.name} {age}".encode()).hexdigest()
    own = Ownership(owner, spec.name, digest[:16] if age else spec.revision, 1)
    files = {file.digest: f"file-{file.digest[:24]}" for file in spec.files}
    body = create_body(spec, str(spec.model), own, files)
    document = documents.job(body, job_id=f"ftjob-{digest[:24]}", created_at=born, seed=7)
    numbers = {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.8}
    document = documents.with_hyperparameters(document, numbers)
    if not age and spec.state == "paused":
        return {**document, "status": "paused"}
    ended = {**document, "finished_at": born + 1900, "result_files": [f"file-{digest[:24]}"]}
    if age and number % 23 == age:
        return {**ended, "status": "cancelled"}
    if age and number % 31 == age:
        error = {"code": "server_error", "message": "The trainer stopped.", "param": None}
        return {**ended, "status": "failed", "error": error}
    model = f"ft:{spec.model}:org-local:{spec.suffix}:{digest[:8]}"
    return {**ended, "status": "succeeded", "fine_tuned_model": model, "trained_tokens": 48_000}


def main(directory: str, owner: str, specs: str, jobs_each: str, every: str = "20") -> None:
    """Make both."""
    root = Path(directory) / "repository"
    write_repository(root, owner, int(specs), int(every))
    write_jobs(Path(directory) / "server", owner, load(["specs"], cwd=root).desired, int(jobs_each))


if __name__ == "__main__":
    main(*sys.argv[1:])
