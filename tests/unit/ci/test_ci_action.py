"""The action only wires: inputs become variables that the command reads, and what it leaves are the outputs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from reconciler.ci.finished import Finished
from reconciler.ci.outputs import outputs
from reconciler.cli.ci import command

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def action() -> dict[str, Any]:
    document: dict[str, Any] = YAML(typ="safe").load((ROOT / "action.yml").read_text(encoding="utf-8"))
    return document


def test_shell_lines_interpolate_nothing(action: dict[str, Any]) -> None:
    assert [step["run"] for step in action["runs"]["steps"] if "${{" in step["run"]] == []


def test_the_actions_outputs_are_the_commands(action: dict[str, Any]) -> None:
    names = outputs(Finished(command="plan", owner="o"), plan_file=None, plan_json=None, comment_id=None)
    assert {name: out["value"] for name, out in action["outputs"].items()} == {
        name: f"${{{{ steps.reconciler.outputs.{name} }}}}" for name in names
    }


def test_every_input_is_handed_over_once_and_every_variable_is_read(action: dict[str, Any]) -> None:
    step = action["runs"]["steps"][-1]
    used = re.findall(r"inputs\.([a-z-]+)", f"{step['env']} {step['working-directory']}")
    assert sorted(used) == sorted(action["inputs"])
    known = {parameter.envvar for parameter in command.params} | {"RECONCILER_SERVER", "RECONCILER_OWNER"}
    assert set(step["env"]) - known == {"GITHUB_TOKEN", "RECONCILER_CI_MAX_PRUNE"}


def test_every_input_and_output_is_documented(action: dict[str, Any]) -> None:
    text = (ROOT / "docs/ci.md").read_text(encoding="utf-8")
    assert [name for name in [*action["inputs"], *action["outputs"]] if f"`{name}`" not in text] == []
