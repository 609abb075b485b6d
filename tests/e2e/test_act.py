"""The action on a runner: what a pull request, a merge and a schedule come to, from the workflow to the comment."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from acting import ACTION, Act, install, our_checkout, tell_outputs
from github import LONGEST, REPOSITORY, TOKEN, Stand
from program import KEY, LONG, Repo
from recording import Recording, recording
from small_action import SmallAction

pytestmark = pytest.mark.slow
SECRETS = {"OPENAI_API_KEY": KEY, "GITHUB_TOKEN": TOKEN}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Recording]:
    with recording(tmp_path / "server", key=KEY) as server:
        yield server


@pytest.fixture
def repo(tmp_path: Path, server: Recording) -> Repo:
    settings = f"server: theirs\nservers:\n  theirs: {{base_url: '{server.url}', key_env: OPENAI_API_KEY}}\n"
    repo = Repo.make(tmp_path / "repo", server=None, settings=settings, OPENAI_API_KEY=KEY)
    repo.commit()
    repo.run("init", "--github", "--action", ACTION)
    (repo.root / "specs/example.yaml").unlink(missing_ok=True)
    for workflow in repo.root.glob(".github/workflows/*.yml"):
        tell_outputs(workflow)
    repo.commit()
    return repo


@pytest.fixture
def act(tmp_path: Path, repo: Repo, stand: Stand) -> Act:
    act = Act(tmp_path / "act", repo.root, our_checkout(tmp_path / "checkout"), stand.url)
    install(act)
    return act


def pull_request(repo: Repo, *, source: str = REPOSITORY) -> dict[str, Any]:
    head = {"sha": repo.git("rev-parse", "HEAD"), "ref": "change", "repo": {"full_name": source}}
    base = {"sha": repo.git("rev-parse", "main"), "ref": "main", "repo": {"full_name": REPOSITORY}}
    return {"number": 7, "pull_request": {"number": 7, "merged": False, "head": head, "base": base}}


def rewrite(repo: Repo, workflow: str, old: str, *new: str) -> None:
    """Commit a workflow with other lines in the place of what is on one."""
    path = repo.root / f".github/workflows/fine-tuning-{workflow}.yml"
    before, found, after = path.read_text(encoding="utf-8").partition(old)
    assert found
    indent = " " * (len(before) - before.rfind("\n") - 1)
    path.write_text(before + f"\n{indent}".join(new) + after, encoding="utf-8")
    repo.commit()


def merged(repo: Repo, stand: Stand) -> dict[str, Any]:
    """Merge the change; return the event that this is."""
    change = repo.git("rev-parse", "change")
    repo.git("switch", "-q", "main")
    repo.git("merge", "-q", "--no-ff", "--no-edit", "change")
    stand.tips["main"] = repo.git("rev-parse", "HEAD")
    stand.merges[stand.tips["main"]] = (7, change)
    return {"ref": "refs/heads/main", "repository": {"default_branch": "main", "full_name": REPOSITORY}}


def test_a_change_is_planned_planned_again_merged_and_run_again(
    repo: Repo, act: Act, stand: Stand, server: Recording
) -> None:
    rewrite(repo, "apply", "command: auto", "require-reviewed-plan: true")
    repo.git("switch", "-q", "-c", "change")
    repo.spec("a")
    first = repo.commit()
    opened = act.play("pull_request", pull_request(repo), SECRETS)
    assert (opened.outputs["command"], opened.outputs["create"]) == ("plan", "1")
    [comment] = stand.comments
    assert "### Plan: 1 to create." in stand.comments[comment]["body"]

    repo.spec("b", hyperparameters={"n_epochs": 2})
    repo.commit()
    pushed = act.play("pull_request", pull_request(repo), SECRETS)
    assert pushed.outputs["comment-id"] == str(comment)
    assert list(stand.comments) == [comment]
    assert "### Plan: 2 to create." in stand.comments[comment]["body"]
    assert first[:7] in stand.comments[comment]["body"]
    assert server.changes == []

    event = merged(repo, stand)
    applied = act.play("push", event, SECRETS)
    assert applied.outputs["command"] == "apply"
    assert applied.outputs["fingerprint"] == pushed.outputs["fingerprint"]
    assert [job["metadata"]["reconciler.name"] for job in server.jobs()] == ["a", "b"]
    server.until("b", "succeeded")

    again = act.play("push", event, SECRETS)
    assert again.outputs["has-changes"] == "false"
    assert json.loads(again.outputs["outputs-json"])["a"] == server.by_name("a")[0]["fine_tuned_model"]
    assert server.creates == 2

    stand.tips["main"] = "e" * 40
    old = act.play("push", event, SECRETS, code=1)
    assert "is no longer the newest commit of main" in old.log
    assert server.creates == 2
    assert [path.name for path in act.home.glob("act/act/*/tmp/*")] == []


def test_a_schedule_fails_once_there_is_drift_and_shows_no_key_that_is_no_secret_of_githubs(
    repo: Repo, act: Act, server: Recording
) -> None:
    rewrite(repo, "drift", "${{ secrets.OPENAI_READ_KEY || secrets.OPENAI_API_KEY }}", KEY)
    rewrite(repo, "drift", "printf %s", f"echo a later step prints {KEY}; printf %s")
    repo.spec("a", **LONG)
    repo.commit()
    repo.apply()
    assert act.play("schedule", {}, {}).outputs["drift"] == "0"
    [job] = server.jobs()
    server.http.post(f"/fine_tuning/jobs/{job['id']}/pause").raise_for_status()
    drifted = act.play("schedule", {}, {}, code=1)
    assert drifted.outputs["drift"] == "1"
    assert "### Drift: 1 job differs" in drifted.log
    assert "a later step prints ***" in drifted.log
    assert KEY not in drifted.log.partition("Run Main Reconcile")[2]


def test_a_pull_request_from_a_fork_needs_no_key_and_no_comment(
    repo: Repo, act: Act, stand: Stand, server: Recording
) -> None:
    stand.fault = lambda method, _: None if method == "GET" else 403
    repo.git("switch", "-q", "-c", "change")
    repo.spec("a")
    repo.commit()
    played = act.play("pull_request", pull_request(repo, source="mallory/models"), {"GITHUB_TOKEN": TOKEN})
    assert (played.outputs["offline"], played.outputs["create"]) == ("true", "1")
    assert "No comment could be kept up to date" in played.log
    assert stand.comments == {}
    assert server.recorder.requests == []


def test_three_hundred_changes_fit_into_the_comment_and_all_are_in_the_artifact(
    repo: Repo, act: Act, stand: Stand
) -> None:
    rewrite(repo, "plan", "command: plan", "plan-artifact: the plan")
    repo.spec("many", matrix={"seed": list(range(300))}, suffix="s" * 40)
    repo.git("switch", "-q", "-c", "change")
    repo.commit()
    assert act.play("pull_request", pull_request(repo), SECRETS).outputs["create"] == "300"
    [body] = stand.bodies()
    assert len(body) <= LONGEST
    assert "### Plan: 300 to create." in body
    assert len(json.loads((act.artifacts / "the plan/plan.json").read_text(encoding="utf-8"))["changes"]) == 300
    assert (act.artifacts / "the plan/saved.plan").is_file()


def test_models_are_written_back_to_the_branch(repo: Repo, act: Act, stand: Stand, server: Recording) -> None:
    rewrite(repo, "apply", "command: auto", "wait: true", "lock-file: models.yaml", "lock-commit: commit")
    rewrite(repo, "apply", "contents: read", "contents: write")
    repo.spec("a")
    stand.tips["main"] = repo.commit()
    event = {"ref": "refs/heads/main", "repository": {"default_branch": "main", "full_name": REPOSITORY}}
    applied = act.play("push", event, SECRETS)
    assert applied.outputs["lock-changed"] == "true"
    assert "more than it needs" not in applied.log
    assert server.by_name("a")[0]["fine_tuned_model"] in (stand.git.show("main", "models.yaml") or "")
    assert act.play("push", event, SECRETS).outputs["lock-changed"] == "false"
    assert len(stand.git.log("main")) == 2


def test_a_runner_without_internet_installs_from_wheels_and_only_once(tmp_path: Path, repo: Repo) -> None:
    checkout = SmallAction.make(tmp_path / "small")
    act = Act(tmp_path / "act", repo.root, checkout.root, "http://127.0.0.1:9")
    rewrite(repo, "apply", "command: auto", f"wheelhouse: {checkout.wheelhouse}", 'python-version: "3.11"')
    for _ in range(2):
        log = act.play("push", {}, {}).log
        assert f"::set-output:: with={act.python}\n" in log
        assert "reconciler of the checkout 42 ci" in log
        shutil.rmtree(checkout.wheelhouse, ignore_errors=True)
