"""What training needs of memory at least, and what is said where a device does not have it."""

from __future__ import annotations

import importlib.util
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hub import Hub, Repo
from pydantic import ByteSize
from test_trl_devices import weights
from test_trl_trainer import BEGAN, DONE, FAKE, Run, saved

from reconciler.server.graders.grading import Graders
from reconciler.server.trainers.base import Note, TrainingFailed
from reconciler.server.trainers.trl.catalogue import Catalogue, Entry, Lora, Resources
from reconciler.server.trainers.trl.devices import CLUSTER, GIB, Device
from reconciler.server.trainers.trl.executor import LocalExecutor
from reconciler.server.trainers.trl.memory import Load, Need, need
from reconciler.server.trainers.trl.recipe import Recipe
from reconciler.server.trainers.trl.trainer import TrlTrainer
from reconciler.server.trainers.trl.weighing import fitting, shapes_of

SHAPES = {
    "model.embed_tokens.weight": [1000, 64],
    **{f"model.layers.{layer}.self_attn.q_proj.weight": [64, 64] for layer in range(2)},
    **{f"model.layers.{layer}.mlp.up_proj.weight": [256, 64] for layer in range(2)},
    "model.norm.weight": [64],
}
PARAMETERS = 1000 * 64 + 2 * (64 * 64 + 256 * 64) + 64
BILLIONS = {f"model.layers.{layer}.mlp.up_proj.weight": [25_000, 10_000] for layer in range(8)}
"""Two billion parameters."""


def entry(**facts: Any) -> Entry:
    return Entry(**{"path": "x", "dtype": "float32", "lora": Lora(rank=8), **facts})


def load(method: Any = "supervised", micro: int = 4, tokens: float = 100, generations: int = 1) -> Load:
    return Load(method, Recipe(learning_rate=1, epochs=1, batch=4, held=micro, generations=generations), tokens)


def needed(method: Any = "supervised", half: bool = False, **facts: Any) -> Need:
    return need(entry(**facts), SHAPES, load(method), half=half)


ADAPTERS = 16 * 8 * 2 * (64 + 64 + 256 + 64)


@pytest.mark.parametrize(
    ("found", "numbers"),
    [
        (needed(), (PARAMETERS * 4, ADAPTERS, 400 * 4 * 640)),
        (needed(dtype="auto", half=True), (PARAMETERS * 2, ADAPTERS, 400 * 2 * 640)),
        (needed(lora=Lora(rank=8, targets=["q_proj"])), (PARAMETERS * 4, 16 * 8 * 2 * 128, 400 * 4 * 640)),
        (needed(tuning="full"), (PARAMETERS * 4, PARAMETERS * 12, 400 * 4 * 640)),
        (needed("dpo", tuning="full"), (PARAMETERS * 4, PARAMETERS * 16, 400 * 4 * 640)),
        (needed(tuning="qlora"), (PARAMETERS // 2, ADAPTERS, 400 * 4 * 640)),
        (needed(gradient_checkpointing=True), (PARAMETERS * 4, ADAPTERS, 400 * 4 * (320 + 2 * 64))),
        (needed(context=10), (PARAMETERS * 4, ADAPTERS, 40 * 4 * 640)),
    ],
)
def test_the_formula_is_the_documented_one(found: Need, numbers: tuple[int, int, int]) -> None:
    assert (found.weights, found.trained, found.activations) == numbers
    assert found.total == sum(numbers) + GIB // 2


def test_answers_of_reinforcement_are_its_rows() -> None:
    one, four = (need(entry(), SHAPES, load("reinforcement", generations=count), half=False) for count in (1, 4))
    assert four.activations == one.activations


def test_shapes_are_read_from_the_head_of_a_file(tmp_path: Path) -> None:
    assert shapes_of(weights(tmp_path / "w", SHAPES)) == SHAPES


needs_hub = pytest.mark.skipif(
    importlib.util.find_spec("huggingface_hub") is None, reason="needs the hub's client: pip install -e '.[train]'"
)


def held(stand: Hub, tmp_path: Path, files: dict[str, Any], **others: str) -> Entry:
    """An entry for a model that the hub has, of which nothing is on this machine."""
    made = {name: weights(tmp_path / name, shapes) for name, shapes in files.items()}
    contents = {name: (Path(each.path or "") / "model.safetensors").read_bytes() for name, each in made.items()}
    repo = stand.repos["acme/m"] = Repo()
    sha = repo.commit(contents | {name: text.encode() for name, text in others.items()}, message=str(tmp_path))
    return Entry(hub="acme/m", revision=sha)


@pytest.mark.slow
@needs_hub
def test_shapes_of_a_model_that_is_only_at_the_hub_are_asked_for_once(stand: Hub, tmp_path: Path) -> None:
    entry = held(stand, tmp_path, {"model.safetensors": SHAPES})
    assert shapes_of(entry) == shapes_of(entry) == SHAPES
    assert [path for _, path in stand.requests if "resolve" in path] == [
        f"/acme/m/resolve/{entry.revision}/model.safetensors"
    ]


@pytest.mark.slow
@needs_hub
def test_shapes_of_several_files_are_those_of_the_index(stand: Hub, tmp_path: Path) -> None:
    parts = [f"model-{part}-of-00002.safetensors" for part in ("00001", "00002")]
    names = list(SHAPES)
    split = {parts[0]: {names[0]: SHAPES[names[0]]}, parts[1]: {name: SHAPES[name] for name in names[1:]}}
    index = {"weight_map": {name: part for part, shapes in split.items() for name in shapes}}
    others = {"other.safetensors": {"not.of.the.model": [1]}}
    entry = held(stand, tmp_path, split | others, **{"model.safetensors.index.json": json.dumps(index)})
    assert shapes_of(entry) == SHAPES


@pytest.mark.slow
@needs_hub
@pytest.mark.parametrize("fault", ["offline", "away", "forbidden", "no safetensors", "no model"])
def test_a_hub_that_does_not_tell_keeps_no_job(
    stand: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    from huggingface_hub import constants  # noqa: PLC0415 - of the extra

    files = {} if fault == "no safetensors" else {"model.safetensors": SHAPES}
    entry = held(stand, tmp_path, files, **({"model.safetensors": "{}"} if fault == "no model" else {}))
    entry = entry.model_copy(update={"revision": "main"})  # no other test's
    if fault == "offline":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    elif fault == "away":
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{revision}/{filename}"
        )
    elif fault == "forbidden":
        stand.fault = lambda _method, _path: 403
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    assert shapes_of(entry) is None
    assert sum(waits) < 1, "it is not asked again and again"


@pytest.mark.parametrize("bad", [b"", b"\xff" * 8, b"\x02\0\0\0\0\0\0\0[]"])
def test_a_file_that_is_no_model_is_not_judged(tmp_path: Path, bad: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(bad)
    assert shapes_of(Entry(path=str(tmp_path))) is None


def test_rows_in_memory_at_once_are_fewer_where_that_helps() -> None:
    device = Device("cuda", "Small", int(2.5 * GIB))
    found = fitting(entry(), load(micro=4, tokens=700), device, {"a.0.b": [200_000, 400]})
    assert found.micro == 2


def test_memory_that_does_not_hold_all_answers_to_a_prompt_may_hold_some() -> None:
    device = Device("cuda", "Small", int(2.5 * GIB))
    found = fitting(entry(), load("reinforcement", 8, 700, generations=8), device, {"a.0.b": [200_000, 400]})
    assert (found.micro, found.accumulate) == (2, 16)


def test_what_cannot_fit_says_what_would() -> None:
    device = Device("cuda", "Small", 12 * GIB)
    with pytest.raises(TrainingFailed) as caught:
        fitting(entry(path="w/ours", tuning="full", dtype="auto"), load(), device, BILLIONS)
    assert (caught.value.code, caught.value.param) == ("insufficient_memory", "model")
    assert caught.value.message == (
        "Training ours needs at least 15.4 GiB, one row at a time (weights 3.7 GiB, what is trained 11.2 GiB, "
        "activations 0.0 GiB); cuda:0 (Small, 12 GiB) does not have that. What would fit: tuning: lora in the server's "
        "catalogue; tuning: lora with gradient_checkpointing: true in the server's catalogue; tuning: qlora in the "
        "server's catalogue; a device with 16 GiB, or a smaller model."
    )


def test_where_a_whole_model_goes_on_no_adapter_is_offered() -> None:
    device, ours = Device("cuda", "Small", 12 * GIB), entry(path="w/ours", tuning="full", dtype="auto")
    with pytest.raises(TrainingFailed, match=r"What would fit: a device with 16 GiB, or a smaller model\."):
        fitting(ours, replace(load(), whole=True), device, BILLIONS)


@pytest.mark.parametrize(
    ("device", "shapes", "asked"),
    [
        (Device("cuda", "?", None), BILLIONS, {}),
        (Device("cpu", "1", 1), None, {}),
        (CLUSTER, BILLIONS, {}),
        (CLUSTER, BILLIONS, {"gpus": 0}),
        (CLUSTER, BILLIONS, {"gpus": 1, "memory": GIB}),
        (CLUSTER, BILLIONS, {"memory": GIB}),
        (Device("cpu", "1", None), BILLIONS, {"gpus": 0, "memory": GIB}),
    ],
)
def test_what_is_not_known_is_not_judged(device: Device, shapes: Any, asked: dict[str, Any]) -> None:
    assert fitting(entry(resources=Resources(**asked)), load(), device, shapes) == load().recipe


def test_a_cluster_without_gpus_has_what_the_entry_asks_it_for() -> None:
    asked = Resources(gpus=0, memory=ByteSize(8 * GIB))
    with pytest.raises(TrainingFailed) as caught:
        fitting(entry(path="w/ours", resources=asked), load(), CLUSTER, BILLIONS)
    assert caught.value.message == (
        "Training ours needs at least 8.1 GiB, one row at a time (weights 7.5 GiB, what is trained 0.0 GiB, "
        "activations 0.1 GiB); its resources ask the cluster for 8.0 GiB. What would fit: resources of memory: 9GiB in "
        "the server's catalogue, or a smaller model."
    )


def trainer(directory: Path, made: Entry, memory: int) -> TrlTrainer:
    executor = LocalExecutor([Device("cpu", "2 processors", memory)], FAKE)
    return TrlTrainer(directory, Catalogue({"tiny": made}), Graders(), executor, threads=1)


def test_a_job_that_cannot_fit_fails_before_its_process_starts(tmp_path: Path) -> None:
    run = Run(trainer(tmp_path, weights(tmp_path / "w", BILLIONS), 4 * GIB), tmp_path, [[BEGAN, saved(4, 2), DONE]])
    with pytest.raises(TrainingFailed, match=r"needs at least 8\.1 GiB"):
        run.train()
    assert not (run.workdir / "order.json").exists()


def test_a_batch_that_is_held_in_parts_is_said(tmp_path: Path) -> None:
    made = weights(tmp_path / "w", {"a.0.b": [1_000_000, 1]}).model_copy(update={"lora": Lora(targets=["none"])})
    run = Run(trainer(tmp_path, made, int(1.5 * GIB)), tmp_path, [[BEGAN, saved(4, 2), DONE]])
    assert Note("Memory does not hold 4 rows at once; it may hold 2.") in run.train()
    assert run.order(1)["recipe"]["held"] == 2
