"""`fmt` tidies files where it is told to, and changes no plan."""

from __future__ import annotations

from pathlib import Path

import pytest
from program import ROOT, Repo
from ruamel.yaml import YAML

from reconciler.cli.overview import COMMANDS

UNTIDY = "model: gpt-4.1-nano-2025-04-14   \n# what it is called\nname: a\ntraining_file: data/train.jsonl\n"


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo.make(tmp_path)
    repo.write("specs/a.yaml", UNTIDY)
    return repo


def test_check_writes_nothing_and_says_what_would_change(repo: Repo) -> None:
    done = repo.run("fmt", "--check", code=1)
    assert (done.out, done.err) == ("specs/a.yaml\n", "1 file would change.\n")
    assert (repo.root / "specs/a.yaml").read_text() == UNTIDY


def test_files_are_tidied_once_and_plans_stay_as_they_were(repo: Repo) -> None:
    before = repo.plan().json
    assert "+model: gpt" in repo.run("fmt", "--diff").out
    assert (repo.root / "specs/a.yaml").read_text().startswith("# what it is called\nname: a\nmodel: ")
    assert repo.plan().json["fingerprint"] == before["fingerprint"]
    again = repo.run("fmt", "--check")
    assert (again.out, again.err) == ("", "0 files would change.\n")


def test_a_fault_anywhere_changes_no_file(repo: Repo) -> None:
    repo.write("specs/b.yaml", "name: [\n")
    done = repo.run("fmt", code=1)
    assert "specs/b.yaml:2:1" in done.err
    assert (repo.root / "specs/a.yaml").read_text() == UNTIDY


def test_the_hooks_for_pre_commit_name_commands_that_exist() -> None:
    hooks = YAML(typ="safe").load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert [hook["id"] for hook in hooks] == ["reconciler-validate", "reconciler-fmt"]
    assert {hook["entry"].split()[1] for hook in hooks} <= set(COMMANDS)
