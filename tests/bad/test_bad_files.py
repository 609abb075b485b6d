"""One small bad file a fault, with all that is said of it. ``UPDATE_GOLDEN=1 pytest tests/bad`` writes that anew."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from reconciler.errors import SpecError
from reconciler.spec.load import load

HERE = Path(__file__).parent
ROW = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
GOOD = "name: good\nmodel: m\ntraining_file: data/train.jsonl\n"


def repository(root: Path) -> Path:
    data = root / "data"
    data.mkdir()
    (data / "train.jsonl").write_text(ROW * 10)
    (data / "empty.jsonl").touch()
    (data / "lfs.jsonl").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    (root / "reconciler.yaml").write_text("owner: test\n")
    return root


def check_golden(bad: Path, said: str) -> None:
    golden = bad.with_suffix(".txt")
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(said)
    assert said == golden.read_text()


@pytest.mark.parametrize("bad", sorted((HERE / "specs").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_bad_spec_is_refused_with_every_fault_at_its_place(bad: Path, tmp_path: Path) -> None:
    repository(tmp_path)
    shutil.copy(bad, tmp_path / "bad.yaml")
    with pytest.raises(SpecError) as caught:
        load(["bad.yaml"], cwd=tmp_path)
    check_golden(bad, f"{caught.value}\n")


@pytest.mark.parametrize("bad", sorted((HERE / "config").glob("*.yaml")), ids=lambda path: path.stem)
def test_bad_settings_are_refused_with_every_fault_at_its_place(bad: Path, tmp_path: Path) -> None:
    repository(tmp_path)
    (tmp_path / "good.yaml").write_text(GOOD)
    shutil.copy(bad, tmp_path / "reconciler.yaml")
    with pytest.raises(SpecError) as caught:
        load(["good.yaml"], cwd=tmp_path)
    check_golden(bad, f"{caught.value}\n")


def test_the_spec_beside_the_bad_ones_is_good(tmp_path: Path) -> None:
    (repository(tmp_path) / "good.yaml").write_text(GOOD)
    assert [d.name for d in load(["good.yaml"], cwd=tmp_path).desired] == ["good"]
