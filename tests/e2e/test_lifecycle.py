"""Specs are edited, and the jobs follow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from program import LONG, Repo, chat
from recording import Recording, recording


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Recording]:
    with recording(tmp_path / "server") as server:
        yield server


@pytest.fixture
def repo(tmp_path: Path, server: Recording) -> Repo:
    return Repo.make(tmp_path / "repo", server.url)


def test_an_edit_creates_the_successor_then_cancels_the_old_job(repo: Repo, server: Recording) -> None:
    repo.spec("a", **LONG)
    repo.apply()
    server.until("a", "running")
    repo.spec("a", **LONG | {"hyperparameters": {"n_epochs": 49}})

    text = repo.run("plan").out
    assert "n_epochs" in text
    assert "50" in text
    assert "49" in text
    plan = repo.plan("--detailed-exitcode", code=2)
    assert [c["action"] for c in plan.json["changes"]] == ["create", "cancel"]
    assert {"field": "hyperparameters.n_epochs", "old": "50", "new": "49"} in plan.json["changes"][0]["diff"]

    server.forget()
    applied = repo.apply()
    assert [c["outcome"] for c in applied.json["changes"]] == ["done", "done"]
    old, new = server.by_name("a")
    assert server.changes[-2:] == ["POST /v1/fine_tuning/jobs", f"POST /v1/fine_tuning/jobs/{old['id']}/cancel"]
    assert old["status"] == "cancelled"
    assert new["status"] != "cancelled"


def test_replace_wait_lets_the_old_job_end_first(repo: Repo, server: Recording) -> None:
    repo.spec("a", replace="wait", model="simulated-slow")
    repo.apply()
    repo.spec("a", replace="wait")
    assert repo.plan("--detailed-exitcode").actions() == {"a": "wait"}
    server.release()
    repo.apply("--wait")
    assert server.statuses("a") == ["succeeded", "succeeded"]


def test_protect_forbids_cancel_and_replacement(repo: Repo, server: Recording) -> None:
    repo.spec("a", protect=True, **LONG)
    repo.apply()
    repo.spec("a", protect=True, seed=2, **LONG)
    assert repo.plan().actions() == {"a": "blocked"}
    repo.apply()
    repo.spec("a", protect=True, state="cancelled", **LONG)
    plan = repo.plan()
    assert plan.actions() == {"a": "blocked"}
    assert "protect" in plan.reason("a")
    repo.apply()
    assert len(server.jobs()) == 1
    assert server.jobs()[0]["status"] != "cancelled"


def test_paused_and_running_again(repo: Repo, server: Recording) -> None:
    repo.spec("a", **LONG)
    repo.apply()
    server.until("a", "running")
    repo.spec("a", state="paused", **LONG)
    assert repo.plan().actions() == {"a": "pause"}
    repo.apply()
    assert server.statuses("a") == ["paused"]
    assert repo.plan("--detailed-exitcode").actions() == {"a": "none"}
    assert repo.jobs()["a"]["converged"] is True
    repo.spec("a", **LONG)
    assert repo.plan().actions() == {"a": "resume"}
    repo.apply()
    server.until("a", "running")
    repo.spec("a", state="cancelled", **LONG)
    repo.apply()
    assert server.statuses("a") == ["cancelled"]
    assert repo.plan("--detailed-exitcode").actions() == {"a": "none"}


def test_a_paused_spec_creates_nothing(repo: Repo, server: Recording) -> None:
    repo.spec("a", state="paused")
    assert repo.plan("--detailed-exitcode").actions() == {"a": "hold"}
    repo.apply("--wait")
    assert server.jobs() == []


def test_a_deleted_spec_is_pruned(repo: Repo, server: Recording) -> None:
    repo.spec("a", **LONG)
    repo.spec("b", **LONG)
    repo.apply()
    repo.remove("b")
    plan = repo.plan()
    assert plan.actions() == {"a": "none", "b": "cancel"}
    assert "no spec" in plan.reason("b")
    repo.apply()
    assert server.statuses("b") == ["cancelled"]
    assert "cancelled" not in server.statuses("a")


def test_an_empty_directory_is_refused_with_the_flag_that_allows_it(repo: Repo, server: Recording) -> None:
    repo.spec("a", **LONG)
    repo.apply()
    repo.remove("a")
    server.forget()
    for command in (["plan"], ["apply", "--auto-approve"], ["apply", "--auto-approve", "--wait"]):
        assert "--allow-empty" in repo.run(*command, code=1).said
    assert server.changes == []
    repo.apply("--allow-empty")
    assert server.statuses("a") == ["cancelled"]


def test_pruning_beyond_max_prune_is_refused_with_the_flag_that_allows_it(repo: Repo, server: Recording) -> None:
    repo.write("reconciler.yaml", "owner: example.com/e2e\npolicy: {max_prune: 1}\n")
    for name in "abcd":
        repo.spec(name, **LONG)
    repo.apply()
    repo.remove("c")
    repo.remove("d")
    server.forget()
    assert "--max-prune 2" in repo.run("apply", "--auto-approve", code=1).err
    assert server.changes == []
    repo.apply("--max-prune", "2")
    assert server.statuses("c") == server.statuses("d") == ["cancelled"]


def test_going_back_to_a_trained_revision_buys_nothing(repo: Repo, server: Recording) -> None:
    repo.spec("a", seed=1)
    repo.apply("--wait")
    first = repo.run("outputs").json["a"]
    repo.spec("a", seed=2)
    repo.apply("--wait")
    assert repo.run("outputs").json["a"] != first
    repo.spec("a", seed=1)
    server.forget()
    assert repo.apply("--wait").actions() == {"a": "none"}
    assert repo.run("outputs").json["a"] == first
    assert server.changes == []


def test_a_renamed_spec_keeps_its_job(repo: Repo, server: Recording) -> None:
    repo.spec("a", **LONG)
    repo.apply()
    repo.remove("a")
    repo.spec("b", **LONG)
    server.forget()
    assert repo.apply().actions() == {"b": "none"}
    assert repo.jobs()["b"]["job_id"] == server.jobs()[0]["id"]
    assert server.changes == []


def test_what_training_does_not_depend_on_buys_nothing(repo: Repo, server: Recording) -> None:
    labels: dict[str, Any] = {"metadata": {"team": "one"}, "wandb": {"project": "one"}}
    repo.spec("a", **labels)
    repo.apply("--wait")
    server.forget()

    def still_converged() -> bool:
        return repo.plan("--detailed-exitcode").actions() == {"a": "none"} and server.changes == []

    repo.spec("a", metadata={"team": "two"}, wandb={"project": "two"}, priority=7, retry={"limit": 2})
    assert still_converged()
    assert "next revision" in repo.run("plan").out
    (repo.root / "specs/data/train.jsonl").rename(repo.root / "specs/data/moved.jsonl")
    repo.remove("a")
    repo.spec("a", file="sub-team", training_file="data/moved.jsonl", **labels)
    assert still_converged()
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1, "batch_size": "auto"}}}
    body = {"name": "a", "model": "gpt-4.1-nano-2025-04-14", "training_file": "data/moved.jsonl", "method": method}
    repo.write("specs/sub-team.yaml", json.dumps(body))
    assert still_converged()


def test_other_data_makes_another_revision_and_the_plan_counts_its_rows(repo: Repo, server: Recording) -> None:
    repo.spec("a")
    repo.apply("--wait")
    repo.rows("train.jsonl", chat(20, word="and"))
    text = repo.run("plan").out
    assert "training_file" in text
    assert "20 rows" in text
    repo.apply("--wait")
    assert server.statuses("a") == ["succeeded", "succeeded"]


def test_rerun_buys_one_more(repo: Repo, server: Recording) -> None:
    repo.spec("a")
    repo.apply("--wait")
    repo.spec("a", rerun="2026-11")
    repo.apply("--wait")
    repo.apply("--wait")
    assert server.statuses("a") == ["succeeded", "succeeded"]


def test_a_job_cancelled_elsewhere_is_drift_until_recreated(repo: Repo, server: Recording) -> None:
    repo.spec("a", **LONG)
    repo.apply()
    server.http.post(f"/fine_tuning/jobs/{server.jobs()[0]['id']}/cancel").raise_for_status()
    plan = repo.plan("--detailed-exitcode")
    assert plan.actions() == {"a": "blocked"}
    assert "--recreate a" in plan.reason("a")
    repo.apply()
    assert len(server.jobs()) == 1
    repo.apply("--recreate", "a")
    assert [job["metadata"]["reconciler.revision"].partition(".")[2] for job in server.jobs()] == ["1", "2"]
    assert repo.plan("--detailed-exitcode").actions() == {"a": "none"}


def test_policy_may_recreate_what_was_cancelled(repo: Repo, server: Recording) -> None:
    repo.write("reconciler.yaml", "owner: example.com/e2e\npolicy: {on_cancelled: recreate}\n")
    repo.spec("a", **LONG)
    repo.apply()
    server.http.post(f"/fine_tuning/jobs/{server.jobs()[0]['id']}/cancel").raise_for_status()
    assert repo.plan("--detailed-exitcode", code=2).actions() == {"a": "create"}
    repo.apply()
    assert server.statuses("a")[0] == "cancelled"
    assert len(server.by_name("a")) == 2


def test_a_failed_job_blocks_with_its_own_error(repo: Repo, server: Recording) -> None:
    repo.spec("a", model="simulated-fail", retry={"limit": 3})
    repo.spec("b", model={"job": "a"})
    waited = repo.run("apply", "--auto-approve", "--wait", code=1)
    assert "training_failed" in waited.err
    plan = repo.plan("--detailed-exitcode")
    assert plan.actions() == {"a": "blocked", "b": "blocked"}
    assert "as this model name asks" in plan.reason("a")
    assert "a" in plan.reason("b")
    assert len(server.jobs()) == 1
    assert repo.jobs()["a"]["error"]


def test_a_transient_failure_is_tried_again_within_the_limit(repo: Repo, server: Recording) -> None:
    repo.spec("a", model="simulated-fail-transient", retry={"limit": 1})
    repo.apply("--wait", code=1)
    assert server.statuses("a") == ["failed", "failed"]
    plan = repo.plan("--detailed-exitcode")
    assert plan.actions() == {"a": "blocked"}
    assert "retry.limit 1" in plan.reason("a")


def test_target_and_exclude_leave_the_others_alone(repo: Repo, server: Recording) -> None:
    for name in ("app-one", "app-two", "web"):
        repo.spec(name)
    assert repo.plan("--target", "app-*").actions() == {"app-one": "create", "app-two": "create"}
    assert repo.plan("--target", "app-*", "--exclude", "*-two").actions() == {"app-one": "create"}
    repo.apply("--target", "app-*", "--exclude", "*-two", "--wait")
    assert len(server.jobs()) == 1
    assert set(repo.run("status", "--format", "json").json) == {"jobs"}
