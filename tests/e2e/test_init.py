"""``init --github``: a repository that GitHub plans, applies and looks after, without overwriting a byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from program import Repo
from workflow_lint import lint

from reconciler.ci.workflows import PLACEHOLDER

ACTION = f"acme/reconciler@{'a' * 40}"


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path, server=None)


def test_the_workflows_are_valid_and_safe(repo: Repo) -> None:
    out = repo.run("init", "--github", "--action", ACTION).out
    assert [line.split()[1] for line in out.splitlines() if ".github" in line] == [
        ".github/workflows/fine-tuning-plan.yml",
        ".github/workflows/fine-tuning-apply.yml",
        ".github/workflows/fine-tuning-drift.yml",
        ".github/CODEOWNERS",
    ]
    lint(repo.root)


def test_where_nothing_names_the_action_there_is_a_gap_to_fill(repo: Repo) -> None:
    done = repo.run("init", "--github")
    assert PLACEHOLDER in done.err
    workflows = [path.read_text(encoding="utf-8") for path in repo.root.glob(".github/workflows/*.yml")]
    assert [text.count(PLACEHOLDER) for text in workflows] == [1, 1, 1]
    lint(repo.root)
    assert PLACEHOLDER not in repo.run("init", "--github", "--action", ACTION).err, "nothing was written"


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("plan", "persist-credentials: false", "fetch-depth: 0"),
        ("plan", f"@{'a' * 40}", "@v1"),
        ("plan", "pull_request:", "pull_request_target:"),
        ("apply", "runs-on", "runs_on"),
        ("apply", "secrets.OPENAI_API_KEY", "secret.OPENAI_API_KEY"),
    ],
)
def test_the_linters_would_tell(repo: Repo, file: str, old: str, new: str) -> None:
    repo.run("init", "--github", "--action", ACTION)
    path = repo.root / f".github/workflows/fine-tuning-{file}.yml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(AssertionError):
        lint(repo.root)


def test_nothing_is_overwritten(repo: Repo) -> None:
    mine = [".github/workflows/fine-tuning-apply.yml", "CODEOWNERS", "reconciler.yaml"]
    for name in mine:
        repo.write(name, "# mine\n")
    out = repo.run("init", "--github", "--action", ACTION).out
    assert {line.split()[1] for line in out.splitlines() if line.startswith("kept")} == set(mine)
    assert {(repo.root / name).read_text() for name in mine} == {"# mine\n"}
    assert not (repo.root / ".github/CODEOWNERS").exists()
    assert "wrote" not in repo.run("init", "--github", "--action", ACTION).out


@pytest.mark.parametrize("arguments", [["--action", ACTION], ["--github", "--action", "acme/reconciler@v1"]])
def test_an_action_must_be_pinned_before_anything_is_written(repo: Repo, arguments: list[str]) -> None:
    done = repo.run("init", *arguments, code=64)
    assert "--action" in done.err
    assert list(repo.root.iterdir()) == []
