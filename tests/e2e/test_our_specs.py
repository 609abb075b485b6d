"""The specs in ``specs/`` and ``examples/``, as files: that they name what exists, and that their grader grades."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
SPECS = sorted([*ROOT.glob("specs/*.yaml"), *ROOT.glob("examples/*/specs/*.yaml")])
CONFIGS = sorted([ROOT / "reconciler.yaml", *ROOT.glob("examples/*/reconciler.yaml")])


def documents() -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in SPECS:
        yield path, YAML(typ="safe", pure=True).load(path)


@pytest.mark.parametrize("path", [*SPECS, *CONFIGS], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_begins_with_its_schema(path: Path) -> None:
    comment, _, schema = path.read_text(encoding="utf-8").splitlines()[0].partition("$schema=")
    assert comment == "# yaml-language-server: "
    name = "config.schema.json" if path.name == "reconciler.yaml" else "spec.schema.json"
    assert (path.parent / schema).resolve() == ROOT / "reconciler" / "spec" / name


@pytest.mark.parametrize(("schema", "paths"), [("spec.schema.json", SPECS), ("config.schema.json", CONFIGS)])
def test_the_schema_accepts_every_file_of_ours(schema: str, paths: list[Path]) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--schemafile", str(ROOT / "reconciler" / "spec" / schema)]
    subprocess.run([*command, *map(str, paths)], check=True, timeout=60)


def test_every_data_file_is_used_by_a_spec_and_the_other_way_round() -> None:
    named = {
        path.parent / document[key]
        for path, document in documents()
        for key in ("training_file", "validation_file")
        if key in document
    }
    assert named == {file for path in SPECS for file in (path.parent / "data").iterdir()}


def test_every_kind_of_spec_is_shown() -> None:
    specs = {document["name"]: document for path, document in documents() if path.parent == ROOT / "specs"}
    kinds = {str(spec.get("method", "supervised")) for spec in specs.values()}
    assert kinds >= {"supervised", "dpo", "reinforcement"}
    assert specs["threads"]["model"] == {"job": "inbox", "checkpoint": "best"}
    assert specs["deadlines"]["grader"]["type"] == "multi"
    assert {"wandb", "validation_file"} <= specs["inbox"].keys()
    assert "matrix" in specs["units"]


@pytest.mark.parametrize(
    ("given", "reward"),
    [
        ({"pay": "100.00"}, 1.0),
        ({"pay": "100"}, 1.0),
        ({"pay": 100}, 1.0),
        ({"pay": "98.00"}, 0.3),
        ({"pay": "102.01"}, 0.0),
        ({"pay": "-100.00"}, 0.0),
        ({"pay": "NaN"}, 0.0),
        ({"pay": "a hundred"}, 0.0),
        ({}, 0.0),
        (None, 0.0),
    ],
)
def test_the_grader_of_deadlines_rewards_the_exact_sum(given: object, reward: float) -> None:
    (spec,) = (document for _, document in documents() if document["name"] == "deadlines")
    scope: dict[str, Any] = {}
    exec(spec["grader"]["graders"]["pay"]["source"], scope)
    assert scope["grade"]({"output_json": given}, {"pay": "100.00"}) == reward
