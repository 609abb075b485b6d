"""The action only wires: inputs become variables that the command reads, and what it leaves are the outputs."""

from __future__ import annotations

import re
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

from reconciler.ci.finished import Finished
from reconciler.ci.outputs import outputs
from reconciler.cli.ci import command

ROOT = Path(__file__).parents[3]
LOCK = ROOT / "action/requirements.txt"


@pytest.fixture(scope="module")
def action() -> dict[str, Any]:
    document: dict[str, Any] = YAML(typ="safe").load((ROOT / "action.yml").read_text(encoding="utf-8"))
    return document


def named(action: dict[str, Any], name: str) -> dict[str, Any]:
    step: dict[str, Any]
    [step] = [step for step in action["runs"]["steps"] if step.get("id") == name]
    return step


def test_shell_lines_interpolate_nothing(action: dict[str, Any]) -> None:
    assert [step["run"] for step in action["runs"]["steps"] if "${{" in step.get("run", "")] == []


def test_other_actions_are_githubs_own_and_pinned_by_commit() -> None:
    used = re.findall(r"uses: (.*)", (ROOT / "action.yml").read_text(encoding="utf-8"))
    assert used
    assert [use for use in used if not re.fullmatch(r"actions/[a-z/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)] == []


def test_no_input_is_a_secret(action: dict[str, Any]) -> None:
    assert [name for name in action["inputs"] if re.search("key|token|secret|password", name)] == []


def test_the_actions_outputs_are_the_commands(action: dict[str, Any]) -> None:
    names = outputs(Finished(command="plan", owner="o"), plan_file=None, plan_json=None, comment_id=None)
    assert {name: out["value"] for name, out in action["outputs"].items()} == {
        name: f"${{{{ steps.reconciler.outputs.{name} }}}}" for name in names
    }


def test_every_input_is_used(action: dict[str, Any]) -> None:
    assert set(re.findall(r"inputs\.([a-z-]+)", str(action["runs"]["steps"]))) == set(action["inputs"])


def test_every_variable_is_read_and_every_setting_of_the_command_can_be_given(action: dict[str, Any]) -> None:
    given = set(named(action, "reconciler")["env"])
    read = {str(parameter.envvar) for parameter in command.params if parameter.envvar}
    also = {"PYTHON", "GITHUB_TOKEN", "RECONCILER_CI_MAX_PRUNE", "RECONCILER_SERVER", "RECONCILER_OWNER"}
    assert given - read - also == set()
    assert {name for name in read - given if name.startswith("RECONCILER_CI_")} == {
        "RECONCILER_CI_OUT_DIR",
        "RECONCILER_CI_BASE",  # on GitHub it is known
    }


def test_the_tables_of_inputs_and_outputs_are_current() -> None:
    page = (ROOT / "docs/ci.md").read_text(encoding="utf-8")
    assert page == run_path(str(ROOT / "scripts/action_tables.py"))["render"](page), "python scripts/action_tables.py"


def test_the_lock_answers_every_requirement() -> None:
    locked = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE))
    wanted = [Requirement(text) for text in run_path(str(ROOT / "scripts/lock.py"))["wanted"]()]
    assert len(wanted) > 5
    assert [
        f"{need}: python scripts/lock.py" for need in wanted
        if not need.specifier.contains(locked.get(canonicalize_name(need.name), ""))
    ] == []  # fmt: skip


def test_every_locked_version_has_its_digests() -> None:
    entries = re.split(r"\n(?=\S)", LOCK.read_text(encoding="utf-8").rstrip())
    assert entries.pop(0).startswith("#")
    assert [e for e in entries if not re.fullmatch(r"[a-z0-9-]+==\S+( \\\n    --hash=sha256:[0-9a-f]{64})+", e)] == []
