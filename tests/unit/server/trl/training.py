"""Real runs of the trainer on a tiny model: rows for each method, and all that a run yields."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from reconciler.api.types import MethodType
from reconciler.server.graders.grading import Graders
from reconciler.server.lifecycle import resolve, unresolved
from reconciler.server.trainers.base import Control, Note, Progress, Saved, Step, TrainingRun
from reconciler.server.trainers.trl.catalogue import Catalogue, Entry, Lora, Rates
from reconciler.server.trainers.trl.devices import find_devices
from reconciler.server.trainers.trl.executor import LocalExecutor
from reconciler.server.trainers.trl.order import Order
from reconciler.server.trainers.trl.trainer import TrlTrainer

METHODS: tuple[MethodType, ...] = ("supervised", "dpo", "reinforcement")
GRADER = {
    "type": "text_similarity",
    "name": "near",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "evaluation_metric": "cosine",
}
HELD = {
    "grader": {
        "type": "multi",
        "name": "kept",
        "graders": {
            "right": {
                "type": "string_check",
                "name": "right",
                "input": "{{sample.output_json.said}}",
                "reference": "yes",
                "operation": "eq",
            }
        },
        "calculate_output": "1 + right",
    },
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "answer",
            "strict": True,
            "schema": {
                "type": "object",
                "properties": {"said": {"enum": ["yes", "no", "maybe"]}},
                "required": ["said"],
                "additionalProperties": False,
            },
        },
    },
}
"""Settings of reinforcement whose answers are held to a schema; one that keeps to it is worth 1, a yes is worth 2."""
_CALL = {
    "role": "assistant",
    "tool_calls": [{"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}],
}


def entry(model: Path, **changes: Any) -> Entry:
    """A catalogue's entry for the tiny model, with dropout, so that randomness counts."""
    facts: dict[str, Any] = {
        "path": str(model),
        "context": 128,
        "answer": 8,
        "micro_batch": 4,
        "generations": 2,
        "lora": Lora(rank=8, dropout=0.1),
        "learning_rate": Rates(supervised=0.01, dpo=0.01, reinforcement=0.01),
    }
    return Entry(**(facts | changes))


def rows(method: MethodType, count: int) -> Iterator[dict[str, Any]]:
    """Rows of each method; two of three of dpo's have outputs that call a tool first."""
    for number in range(count):
        asked = [{"role": "user", "content": f"what is {number} plus two"}]
        answer = "yes" if number % 2 else "no"
        said = {"role": "assistant", "content": answer}
        if method == "supervised":
            yield {"messages": [*asked, said]}
        elif method == "dpo":
            other = {"role": "assistant", "content": "maybe"}
            before = [_CALL, {"role": "tool", "tool_call_id": "c", "content": f"{number + 2}"}] if number % 3 else []
            yield {
                "input": {"messages": asked},
                "preferred_output": [*before, said],
                "non_preferred_output": [*before, other],
            }
        else:
            yield {"messages": asked, "answer": answer}


def write(path: Path, lines: Any) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


class Bench:
    """A trainer in a directory, and runs of 12 rows, 2 epochs, 6 steps."""

    def __init__(self, directory: Path, model: Path, **changes: Any) -> None:
        self.directory = directory
        self.launcher = changes.pop("launcher", ())
        executor = LocalExecutor(find_devices(), self.launcher)
        self.trainer = TrlTrainer(
            directory, Catalogue({"tiny": entry(model, **changes)}), Graders(), executor, threads=1
        )

    def run(self, method: MethodType = "supervised", name: str = "x", **changes: Any) -> TrainingRun:
        given = {"n_epochs": 2, "batch_size": 4, **changes.pop("hyperparameters", {})}
        training = changes.pop("rows", None) or list(rows(method, 12))
        workdir = self.directory / "work" / name
        workdir.mkdir(parents=True, exist_ok=True)
        facts: dict[str, Any] = {
            "job_id": f"ftjob-{name}",
            "model": "tiny",
            "output_model": f"ft:tiny:local::{name}",
            "method": method,
            "hyperparameters": resolve(method, unresolved(method, given), len(training)),
            "settings": {"grader": GRADER} if method == "reinforcement" else {},
            "seed": 3,
            "training_file": write(workdir / "train.jsonl", training),
            "training_sha256": "a",
            "validation_file": write(workdir / "valid.jsonl", rows(method, 4)),
            "validation_sha256": "b",
            "rows": len(training),
            "tokens": 99,
            "workdir": workdir,
        }
        return TrainingRun(**(facts | changes))

    def train(self, run: TrainingRun, seen: Callable[[Progress, Control], None] = lambda *_: None) -> list[Progress]:
        """Train to the end, or until ``seen`` asks the control to stop."""
        control, found = Control(), []
        for progress in self.trainer.train(run, control):
            found.append(progress)
            seen(progress, control)
        return found

    def order(self, run: TrainingRun) -> Order:
        """What its first process is told."""
        entry = self.trainer._of(run, None)
        return self.trainer._order(run, entry, self.trainer._recipe(run, entry, None), None)


def order_of(directory: Path, **changes: Any) -> Order:
    """What a process is told of a run, for tests that start none."""
    bench = Bench(directory, directory, **changes)
    run = bench.run()
    return bench.order(run)


def numbers(progress: list[Progress]) -> dict[int, Mapping[str, float]]:
    """The numbers of every step."""
    return {each.step: each.metrics for each in progress if isinstance(each, Step)}


def last_state(progress: list[Progress]) -> bytes:
    return [each for each in progress if isinstance(each, Saved)][-1].state


HOLDING = str(Path(__file__).with_name("held"))
"""What processes that train have to have in their PYTHONPATH, so that they can be held."""
HELD_UP = Note("held")
"""What a run says once it is held, and then nothing more until it is let go."""


def hold(directory: Path, step: int, hook: str = "on_step_begin", **until: int) -> None:
    """Have the runs of a server's directory wait where they are said to in ``held/sitecustomize.py``."""
    written = directory / "hold.part"
    written.write_text(json.dumps({"hook": hook, "step": step, **until}))
    written.replace(directory / "hold.json")


def let_go(directory: Path) -> None:
    """Have no run of a server's directory wait."""
    (directory / "hold.json").unlink()


def child_of(directory: Path) -> int:
    """Find the training subprocess by its order, which lies in a directory of this test's own."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if os.fsencode(directory / "order.json") in words:
            return int(place.name)
    raise AssertionError("no training subprocess runs")
