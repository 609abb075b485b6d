"""Two processes that train one model: they learn what one does, and a pause costs them nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tiny import needs_engine, tiny_model
from training import GRADER, METHODS, Bench

from reconciler.api.types import MethodType
from reconciler.server.trainers.trl.catalogue import Lora
from reconciler.server.trainers.trl.shelf import Shelf, step_directory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), needs_engine]
PROGRAM = str(Path(__file__).with_name("together.py"))
FULL: Mapping[str, MethodType] = {"full-dpo": "dpo", "full": "supervised"}
HELD = {"grader": GRADER, "response_format": {"type": "json_object"}}
VARIED = {"type": "string_check", "name": "o", "input": "{{sample.output_text}}", "reference": "o", "operation": "like"}
"""A grader that tells the answers of a model apart that knows nothing yet."""
PLAIN = Lora(rank=8, dropout=0.0)
"""One process and two draw different numbers, so only what draws none can be compared."""


class Runs:
    """Orders for so many workers, and what they told. A run's name says what is special about it."""

    def __init__(self, directory: Path, model: Path, workers: int) -> None:
        self._directory = directory / str(workers)
        self._directory.mkdir()
        self._model = model
        self._workers = workers
        self._orders: list[Mapping[str, Any]] = []
        self._processes: list[subprocess.Popen[str]] = []
        self.shelf = Shelf(self._directory / "models")

    def add(self, name: str, method: MethodType = "supervised", stop: int | None = None, **changes: Any) -> None:
        resources = {"workers": self._workers, "strategy": changes.pop("strategy", "ddp")}
        special = {"settings": changes.pop("settings")} if "settings" in changes else {}
        bench = Bench(self._directory, self._model, resources=resources, **changes)
        bench.trainer._executor.spreads = True  # type: ignore[misc]
        run = bench.run(method, name, **special)
        self._orders.append({"order": bench.order(run).model_dump(mode="json"), "stop": stop})

    def start(self) -> None:
        orders = self._directory / "orders.json"
        orders.write_text(json.dumps(self._orders))
        for rank in range(self._workers):
            words = [sys.executable, PROGRAM, str(orders), str(rank), str(self._workers)]
            with (self._directory / f"{rank}.log").open("w") as log:
                self._processes.append(subprocess.Popen(words, stdout=log, stderr=log, text=True))

    def wait(self) -> None:
        for rank, process in enumerate(self._processes):
            assert process.wait(800) == 0, (self._directory / f"{rank}.log").read_text()[-3000:]

    def told(self, name: str, kind: str) -> dict[int, Any]:
        file = self._directory / "work" / name / "told.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for line in lines:
            line.pop("at", None)  # no two runs say the same of the time
        return {line.get("step", 0): line for line in lines if line["kind"] == kind}

    def numbers(self, name: str) -> dict[int, dict[str, float]]:
        return {step: line["metrics"] for step, line in self.told(name, "step").items()}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Runs, Runs]:
    """What one process learns, and what two do."""
    model = tiny_model(tmp_path_factory)
    directory = tmp_path_factory.mktemp("together")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        one, two = (Runs(directory, model, workers) for workers in (1, 2))
        for method in METHODS:
            two.add(method, method, lora=PLAIN)
            one.add(method, method, lora=PLAIN)
        two.add("dropout")
        two.add("dropout-paused", stop=2)
        two.add("fsdp", strategy="fsdp", lora=PLAIN)
        two.add("fsdp-paused", stop=4, strategy="fsdp", lora=PLAIN)
        two.add("held", "reinforcement", strategy="fsdp", settings=HELD, micro_batch=1)
        for name, parts in (("whole", 8), ("parts", 1)):
            one.add(name, "reinforcement", lora=PLAIN, micro_batch=parts, settings={"grader": VARIED})
        for name, method in FULL.items():
            two.add(name, method, strategy="fsdp", tuning="full")
            one.add(name, method, tuning="full")
        one.start()
        two.start()
        one.wait()
        two.wait()
    return one, two


def same(found: Mapping[int, dict[str, float]], wanted: Mapping[int, dict[str, float]]) -> bool:
    assert len(wanted) == 6
    return found.keys() == wanted.keys() and all(
        found[step] == pytest.approx(wanted[step], rel=1e-3, abs=1e-4) for step in wanted
    )


@pytest.mark.parametrize("method", ["supervised", "dpo"])
def test_two_workers_learn_what_one_does_from_the_same_batches(method: str, both: tuple[Runs, Runs]) -> None:
    one, two = both
    assert same(two.numbers(method), one.numbers(method))
    assert two.told(method, "saved")[6]["tokens"] == one.told(method, "saved")[6]["tokens"] > 0


def test_two_workers_share_the_prompts_of_reinforcement(both: tuple[Runs, Runs]) -> None:
    one, two = both
    assert two.numbers("reinforcement").keys() == one.numbers("reinforcement").keys()
    assert "valid_reward_mean" in two.numbers("reinforcement")[6]
    assert two.told("reinforcement", "saved")[6]["tokens"] > 0
    assert len(two.numbers("held")) == 6


def test_parts_of_a_prompts_answers_teach_what_all_of_them_at_once_do(both: tuple[Runs, Runs]) -> None:
    from safetensors.numpy import load_file  # noqa: PLC0415 - of the extra

    one, _ = both
    steps = (1, 2, 3)  # then answers to the validation file are drawn, in parts, too
    whole, parts = ([one.numbers(name)[step] for step in steps] for name in ("whole", "parts"))
    for name in ("train_loss", "train_reward_mean", "reward_std"):
        assert [each[name] for each in parts] == pytest.approx([each[name] for each in whole], abs=1e-4)
    assert max(each["reward_std"] for each in whole) > 0, "there is something to learn"
    learnt, wanted = (
        load_file(step_directory(one.shelf.place(f"ft:tiny:local::{name}"), 3) / "adapter_model.safetensors")
        for name in ("parts", "whole")
    )
    for name, weights in wanted.items():
        assert abs(learnt[name] - weights).max() < 1e-3, name


@pytest.mark.parametrize(("name", "saved"), [("dropout", [2, 3, 6]), ("fsdp", [3, 6])], ids=["a step", "validation"])
def test_two_workers_that_were_paused_have_the_numbers_of_two_that_were_not(
    name: str, saved: list[int], both: tuple[Runs, Runs]
) -> None:
    _, two = both
    assert list(two.told(f"{name}-paused", "saved")) == saved
    assert two.numbers(f"{name}-paused") == two.numbers(name)
    assert two.told(f"{name}-paused", "saved")[6] == two.told(name, "saved")[6]


def test_a_model_in_parts_learns_what_a_whole_one_does(both: tuple[Runs, Runs]) -> None:
    one, two = both
    assert same(two.numbers("fsdp"), one.numbers("supervised"))
    for name in FULL:
        assert same(two.numbers(name), one.numbers(name))


@pytest.mark.parametrize(("name", "file"), [("fsdp", "adapter_model"), ("full", "model")])
def test_what_comes_of_a_model_in_parts_is_whole(name: str, file: str, both: tuple[Runs, Runs]) -> None:
    sizes = []
    for runs, made in zip(both, ("supervised" if name == "fsdp" else name, name), strict=True):
        place = step_directory(runs.shelf.place(f"ft:tiny:local::{made}"), 6)
        sizes.append((place / f"{file}.safetensors").stat().st_size)
    assert abs(sizes[0] - sizes[1]) < 1024


def test_one_alone_speaks_for_two(both: tuple[Runs, Runs]) -> None:
    _, two = both
    lines = (two._directory / "work" / "supervised" / "told.jsonl").read_text().splitlines()
    kinds = [json.loads(line)["kind"] for line in lines]
    assert kinds.count("began") == kinds.count("done") == 1
    assert kinds.count("step") == 6
