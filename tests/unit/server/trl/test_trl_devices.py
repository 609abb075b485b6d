"""Which devices are found and chosen, and that each is one run's at a time."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from test_trl_trainer import BEGAN, DONE, FAKE, Run, saved

from reconciler.errors import UsageError
from reconciler.server.graders.grading import Graders
from reconciler.server.trainers.base import Control
from reconciler.server.trainers.trl.catalogue import Catalogue, Entry
from reconciler.server.trainers.trl.devices import GIB, VISIBLE, Device, Pool, choose, find_devices
from reconciler.server.trainers.trl.executor import LocalExecutor, visible
from reconciler.server.trainers.trl.trainer import TrlTrainer

LISTED = """0, GPU-aaaa, 81559, NVIDIA H100 80GB HBM3
1, GPU-bbbb, 24564, NVIDIA GeForce RTX 4090
2, GPU-cccc, [N/A], NVIDIA Something, Large
"""
H100 = Device("cuda", "NVIDIA H100 80GB HBM3", 81559 * 1024**2, 0, "GPU-aaaa")


def found(environment: dict[str, str] | None = None, listed: str = LISTED) -> list[Device]:
    return find_devices(environment or {}, lambda: listed, "linux")


def test_gpus_are_found_with_their_memory() -> None:
    first, _, third = found()
    assert first == H100
    assert str(first) == "cuda:0 (NVIDIA H100 80GB HBM3, 80 GiB)"
    assert (third.memory, str(third)) == (None, "cuda:2 (NVIDIA Something, Large)")


def test_without_gpus_the_processors_train() -> None:
    (device,) = found(listed="")
    assert device.kind == "cpu"
    assert device.memory is None or device.memory > GIB / 2


@pytest.mark.parametrize(
    ("variable", "ids"),
    [
        ("1,0", ["GPU-bbbb", "GPU-aaaa"]),
        ("GPU-cc", ["GPU-cccc"]),
        ("1,7,0", ["GPU-bbbb"]),
        ("MIG-12", ["MIG-12"]),
        ("", [""]),
    ],
)
def test_what_cuda_may_not_see_is_not_found(variable: str, ids: list[str]) -> None:
    assert [device.id for device in found({VISIBLE: variable})] == ids


@pytest.mark.parametrize(
    ("gpus", "labels"),
    [
        (None, ["cuda:0", "cuda:1", "cuda:2"]),
        ("2", ["cuda:0", "cuda:1"]),
        ("device=2,0", ["cuda:2", "cuda:0"]),
        ("0", ["cpu"]),
    ],
)
def test_gpus_are_chosen_by_number_or_by_name(gpus: str | None, labels: list[str]) -> None:
    assert [device.label for device in choose(found(), gpus)] == labels


@pytest.mark.parametrize("gpus", ["4", "device=3", "device=", "two", "-1"])
def test_gpus_that_are_not_there_are_refused_with_those_that_are(gpus: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose(found(), gpus)
    assert "cuda:1 (NVIDIA GeForce RTX 4090, 24 GiB)" in caught.value.hint


def test_a_process_sees_its_device_alone() -> None:
    assert visible([H100]) == {VISIBLE: "GPU-aaaa"}
    assert visible(choose(found(), "0")) == {VISIBLE: ""}
    assert visible([Device("mps", "Apple GPU", GIB)]) == {}


def test_a_gpu_is_one_runs_at_a_time() -> None:
    pool, control = Pool(found()[:2]), Control()
    with pool.lend(control) as first, pool.lend(control) as second:
        assert {first, second} == set(found()[:2])
        threading.Timer(0.05, control.stop).start()
        with pool.lend(control) as third:
            assert third is None
    with pool.lend(Control()) as again:
        assert again in {first, second}


def test_processors_are_shared() -> None:
    pool = Pool(found(listed=""))
    with pool.lend(Control()) as first, pool.lend(Control()) as second:
        assert first == second
    assert pool.places is None


def test_a_run_has_the_environment_of_its_gpu(tmp_path: Path) -> None:
    told = "import json, os, pathlib, sys; pathlib.Path(sys.argv[1]).write_text(os.environ['CUDA_VISIBLE_DEVICES'])"
    seen = tmp_path / "seen"
    shell = f'{sys.executable} -c "{told}" {seen}; exec "$@"'
    executor = LocalExecutor([H100], ("sh", "-c", shell, "sh", *FAKE))
    catalogue = Catalogue({"tiny": Entry(path="x")})
    trainer = TrlTrainer(tmp_path, catalogue, Graders(), executor, threads=1)
    Run(trainer, tmp_path, [[BEGAN, saved(4, 2), DONE]]).train()
    assert (seen.read_text(), trainer.places) == ("GPU-aaaa", 1)


def weights(directory: Path, shapes: dict[str, list[int]]) -> Entry:
    """A catalogue's entry for a file of weights of which only the head was written."""
    directory.mkdir()
    head: Any = {name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
    text = json.dumps({**head, "__metadata__": {"format": "pt"}}).encode()
    (directory / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    return Entry(path=str(directory))
