"""What is written for GitHub: where it goes, what it says, and which actions may be named."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from reconciler.ci.workflows import installed_action, workflows
from reconciler.errors import UsageError

A = "a" * 40
ACTION = f"acme/reconciler@{A}"


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True)


def made(directory: Path) -> dict[str, str]:
    return {path.name: text for path, text in workflows(directory, ACTION).items()}


def document(directory: Path, name: str) -> dict[str, Any]:
    read: dict[str, Any] = YAML(typ="safe").load(made(directory)[f"fine-tuning-{name}.yml"])
    return read


def step(directory: Path, name: str) -> dict[str, Any]:
    [job] = document(directory, name)["jobs"].values()
    last: dict[str, Any] = job["steps"][-1]
    return last


def test_every_placeholder_is_filled_in(tmp_path: Path) -> None:
    for name in ("plan", "apply", "drift"):
        assert step(tmp_path, name)["uses"] == ACTION
        assert "working-directory" not in step(tmp_path, name)["with"]
    assert not [name for name, text in made(tmp_path).items() if "0" * 40 in text]


def test_only_the_comment_is_written_and_only_applies_wait_for_one_another(tmp_path: Path) -> None:
    documents = {name: document(tmp_path, name) for name in ("plan", "apply", "drift")}
    jobs = {name: next(iter(d["jobs"].values())) for name, d in documents.items()}
    assert [d["permissions"] for d in documents.values()] == [{}, {}, {}]
    assert {name: job["permissions"] for name, job in jobs.items()} == {
        "plan": {"contents": "read", "pull-requests": "write"},
        "apply": {"contents": "read"},
        "drift": {"contents": "read"},
    }
    groups = {name: d["concurrency"] for name, d in documents.items()}
    assert groups["apply"] == {"group": "fine-tuning-apply", "cancel-in-progress": False}
    assert len({group["group"] for group in groups.values()}) == 3


@pytest.mark.parametrize(("branch", "pattern"), [("trunk", "trunk"), ("on", "on"), ("a+b", r"a\+b"), ("é", "é")])
def test_a_push_to_the_default_branch_applies(tmp_path: Path, branch: str, pattern: str) -> None:
    git(tmp_path, "init", "-q", "-b", branch)
    assert document(tmp_path, "apply")["on"]["push"]["branches"] == [pattern]
    git(tmp_path, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/their/default")
    assert document(tmp_path, "apply")["on"]["push"]["branches"] == ["their/default"]


def test_specs_further_down_get_workflows_at_the_top(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    directory = tmp_path / "teams/a b"
    paths = list(workflows(directory, ACTION))
    assert {path.parent for path in paths} == {tmp_path / ".github/workflows", tmp_path / ".github"}
    assert step(directory, "apply")["with"]["working-directory"] == "teams/a b"
    assert r"# /teams/a\ b/specs/ @" in made(directory)["CODEOWNERS"]
    assert "# /.github/ @" in made(directory)["CODEOWNERS"]


@pytest.mark.parametrize("where", [".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"])
def test_code_owners_that_are_elsewhere_are_not_hidden(tmp_path: Path, where: str) -> None:
    (tmp_path / where).parent.mkdir(exist_ok=True)
    (tmp_path / where).touch()
    assert [path for path in workflows(tmp_path, ACTION) if path.name == "CODEOWNERS"] == [tmp_path / where]


def test_the_hint_makes_nobody_an_owner(tmp_path: Path) -> None:
    assert [line for line in made(tmp_path)["CODEOWNERS"].splitlines() if line and not line.startswith("#")] == []


@pytest.mark.parametrize(
    "action",
    [
        "acme/r",
        "acme/r@v1",
        "acme/r@main",
        f"acme/r@{A[:7]}",
        f"r@{A}",
        f"acme/r@{A}\n- run: id",
        f"acme/${{{{}}}}@{A}",
        "",
    ],
)
def test_an_action_that_no_commit_pins_is_refused(tmp_path: Path, action: str) -> None:
    with pytest.raises(UsageError, match="OWNER/REPO@COMMIT"):
        workflows(tmp_path, action)


@pytest.mark.parametrize("action", [f"a-b/c.d_e@{A}", f"a/b/c/d@{A}", f"a/b@{'0f' * 32}"])
def test_an_action_that_a_commit_pins_is_taken(tmp_path: Path, action: str) -> None:
    assert workflows(tmp_path, action)


@pytest.mark.parametrize(
    ("url", "how", "action"),
    [
        ("https://github.com/acme/r.git", {"vcs_info": {"vcs": "git", "commit_id": A}}, f"acme/r@{A}"),
        ("ssh://git@github.com/acme/r", {"vcs_info": {"vcs": "git", "commit_id": A}}, f"acme/r@{A}"),
        ("https://git.example.com/acme/r", {"vcs_info": {"vcs": "git", "commit_id": A}}, None),
        ("https://github.com/acme/r/archive/v1.zip", {"archive_info": {}}, None),
        ("file:///clones/reconciler", {"dir_info": {"editable": True}}, None),
    ],
)
def test_the_action_is_the_commit_that_was_installed(url: str, how: dict[str, Any], action: str | None) -> None:
    assert installed_action(json.dumps({"url": url, **how})) == action


def test_what_came_from_an_index_names_no_commit() -> None:
    assert installed_action(None) is None
