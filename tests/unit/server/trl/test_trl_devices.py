"""GPUs are found, and lent evenly."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.server.trainers.trl.devices import Devices, found


@pytest.mark.parametrize(
    ("value", "names"), [("0,1", ["0", "1"]), ("GPU-8f3a", ["GPU-8f3a"]), ("", []), ("-1", []), ("2, 3", ["2", "3"])]
)
def test_the_environment_says_which_may_be_used(value: str, names: list[str]) -> None:
    assert found({"CUDA_VISIBLE_DEVICES": value}) == names


def test_else_all_that_the_driver_knows_are(tmp_path: Path) -> None:
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / name).mkdir()
    assert found({}, tmp_path) == ["0", "1"]
    assert found({}, tmp_path / "none") == []


def test_each_job_gets_the_one_that_fewest_have() -> None:
    devices = Devices(["0", "1"])
    with devices.one() as first, devices.one() as second, devices.one() as third:
        assert [each["CUDA_VISIBLE_DEVICES"] for each in (first, second, third)] == ["0", "1", "0"]
    with devices.one() as again:
        assert again == {"CUDA_VISIBLE_DEVICES": "0"}


def test_without_a_gpu_nothing_is_said() -> None:
    with Devices([]).one() as environment:
        assert environment == {}
