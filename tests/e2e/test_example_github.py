"""The example for GitHub, run as its workflows say: what a pull request, a merge and a schedule come to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from github import Runner, Stand
from pipeline import ci
from program import KEY, ROOT, Repo, Result
from recording import Recording, recording
from workflow_lint import lint
from workflow_steps import read, steps

EXAMPLE = ROOT / "examples/github"
SECRETS = {
    "": {"OPENAI_READ_KEY": KEY},
    "staging": {"OPENAI_API_KEY": KEY},
    "production": {"OPENAI_API_KEY": KEY},
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Recording]:
    with recording(tmp_path / "server", key=KEY) as server:
        yield server


@pytest.fixture
def repo(tmp_path: Path, server: Recording) -> Repo:
    shutil.copytree(EXAMPLE, tmp_path / "repo")
    settings = tmp_path / "repo/reconciler.yaml"
    settings.write_text(settings.read_text(encoding="utf-8").replace("https://api.openai.com/v1", server.url))
    repo = Repo(tmp_path / "repo", server=None)
    repo.commit()
    return repo


def play(repo: Repo, workflow: str, env: dict[str, str]) -> list[Result]:
    """Run every job of a workflow in turn, as an event would."""
    path = repo.root / f".github/workflows/fine-tuning-{workflow}.yml"
    return [ci(repo, {**env, **step}) for step in steps(path, SECRETS)]


def test_a_pull_request_shows_what_each_environment_would_buy(
    repo: Repo, stand: Stand, server: Recording, tmp_path: Path
) -> None:
    runner = Runner(tmp_path / "runner", repo.root, stand.url, base=repo.git("rev-parse", "HEAD"))
    play(repo, "plan", runner.pull_request())
    assert len(stand.bodies()) == 2
    assert all("### Plan: 1 to create." in body for body in stand.bodies())
    assert server.changes == []


def test_a_merge_buys_staging_and_then_production_each_its_own(
    repo: Repo, stand: Stand, server: Recording, tmp_path: Path
) -> None:
    runner = Runner(tmp_path / "runner", repo.root, stand.url)
    stand.tips["main"] = repo.git("rev-parse", "HEAD")
    play(repo, "apply", runner.push())
    jobs = server.by_name("weekdays")
    assert [job["metadata"]["reconciler.owner"].split("@")[1] for job in jobs] == ["staging", "production"]
    assert [job["model"] for job in jobs] == ["gpt-4.1-nano-2025-04-14", "gpt-4.1-mini-2025-04-14"]
    assert jobs[0]["status"] == "succeeded"
    play(repo, "apply", runner.push())
    assert server.creates == 2
    play(repo, "drift", runner.event("schedule"))


def test_each_apply_has_an_environment_and_a_queue_of_its_own() -> None:
    jobs = read(EXAMPLE / ".github/workflows/fine-tuning-apply.yml")["jobs"]
    assert [job["environment"] for job in jobs.values()] == ["staging", "production"]
    assert jobs["production"]["needs"] == "staging"
    assert len({job["concurrency"]["group"] for job in jobs.values()}) == 2
    assert {job["concurrency"]["cancel-in-progress"] for job in jobs.values()} == {False}


def test_its_workflows_are_valid_and_safe() -> None:
    lint(EXAMPLE)


def test_what_the_example_and_init_have_in_common_is_the_same() -> None:
    """One version of each action, and one schedule, wherever a workflow is shown."""
    scaffold = [read(path) for path in sorted((ROOT / "reconciler/ci/scaffold").glob("*.yml"))]
    example = [read(path) for path in sorted((EXAMPLE / ".github/workflows").glob("*.yml"))]
    jobs = [job for document in (*scaffold, *example) for job in document["jobs"].values()]
    used = {step["uses"] for job in jobs for step in job["steps"]}
    assert len(used) == 2
    assert [document["on"] for document in scaffold] == [document["on"] for document in example]
