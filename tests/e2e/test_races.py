"""Several commands at once on the same jobs: none is bought twice, none gets in another's way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import ledger
import pytest
from patient import elsewhere, once_alone
from program import Repo, Result, end
from recording import PATIENCE, Recording, recording

MODEL = "gpt-4.1-nano-2025-04-14"


def together(repo: Repo, count: int, *arguments: str) -> list[Result]:
    """Run a command several times at once."""
    processes = [repo.start(*arguments) for _ in range(count)]
    results = []
    for process in processes:
        out, err = process.communicate(timeout=PATIENCE)
        results.append(Result(process.returncode, out, err))
        repo.check(results[-1])
    return results


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Recording]:
    with recording(tmp_path / "server") as server:
        yield server


def three_specs(root: Path, server: str, **env: str) -> Repo:
    repo = Repo.make(root, server, **env)
    for name, model in {"a": MODEL, "b": MODEL, "c": {"job": "a"}}.items():
        repo.spec(name, model=model)
    return repo


def test_four_applies_on_one_directory_train_each_job_once(tmp_path: Path) -> None:
    repo = three_specs(tmp_path / "repo", "local", **elsewhere(tmp_path, "alone"))
    results = together(repo, 4, "apply", "--auto-approve", "--wait")
    assert [result.code for result in results] == [0, 0, 0, 0], results
    directory = repo.root / ".reconciler"
    ledger.check_whole(directory)
    counting = [j for j in ledger.jobs(directory) if j["status"] != "cancelled"]
    assert sorted(j["metadata"]["reconciler.name"] for j in counting) == ["a", "b", "c"]
    assert {j["status"] for j in counting} == {"succeeded"}
    assert repo.run("plan", "--detailed-exitcode").code == 0


def test_four_applies_on_one_server_leave_one_job_a_spec(tmp_path: Path, server: Recording) -> None:
    repo = three_specs(tmp_path / "repo", server.url)
    server.trainer.may_end = once_alone
    results = together(repo, 4, "apply", "--auto-approve", "--wait")
    assert [result.code for result in results] == [0, 0, 0, 0], results
    for name in "abc":
        assert server.statuses(name).count("succeeded") == 1, server.jobs()
        assert set(server.statuses(name)) <= {"succeeded", "cancelled"}
    assert repo.run("plan", "--detailed-exitcode").code == 0


def test_plan_and_status_look_on_while_another_applies(tmp_path: Path) -> None:
    repo = three_specs(tmp_path / "repo", "local")
    repo.spec("b", model="simulated-slow")
    process = repo.start("apply", "--auto-approve", "--wait")
    assert repo.plan().json["summary"]["cancel"] == 0
    assert set(repo.jobs()) == {"a", "b", "c"}
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, out + err
    assert dict(ledger.names(repo.root / ".reconciler")) == {"a": 1, "b": 1, "c": 1}


def test_max_active_holds_at_all_times(tmp_path: Path, server: Recording) -> None:
    settings = "policy: {max_active: {total: 3, models: {'gpt-4.1-*': 2}}}\n"
    repo = Repo.make(tmp_path / "repo", server.url, settings)
    repo.spec("many", matrix={"seed": [1, 2, 3, 4]})
    repo.spec("other", model="o4-mini-2025-04-16", matrix={"seed": [1, 2]}, priority=5)
    most = {"": 0, "gpt-4.1-": 0}
    # None ends before all slots have been seen taken: those for the model once the other one's jobs have made room.
    server.trainer.may_end = lambda run: most[""] >= 3 and (most["gpt-4.1-"] >= 2 or not run.model.startswith("gpt"))
    process = repo.start("apply", "--auto-approve", "--wait")
    while process.poll() is None:
        active = [j["model"] for j in server.jobs() if j["status"] in {"validating_files", "queued", "running"}]
        for model, count in most.items():
            most[model] = max(count, sum(each.startswith(model) for each in active))
        time.sleep(0.01)
    assert end(process).code == 0
    assert most == {"": 3, "gpt-4.1-": 2}
    assert [j["status"] for j in server.jobs()] == ["succeeded"] * 6
    first = [j["metadata"]["reconciler.name"] for j in server.jobs()][:3]
    assert sorted(first) == ["many-1", "other-1", "other-2"]  # by priority


def fail_the_first_create(server: Recording, how: str) -> None:
    armed = threading.Event()

    def fault(method: str, path: str) -> str | None:
        if (method, path) != ("POST", "/v1/fine_tuning/jobs") or armed.is_set():
            return None
        armed.set()
        return how

    server.recorder.fault = fault


def test_a_create_whose_answer_was_lost_is_found_and_not_sent_again(tmp_path: Path, server: Recording) -> None:
    repo = Repo.make(tmp_path / "repo", server.url)
    repo.spec("a")
    fail_the_first_create(server, "lose")
    assert "looking for its job" in repo.run("apply", "--auto-approve", "--wait").err
    assert server.creates == 1
    assert server.statuses("a") == ["succeeded"]


def test_a_create_that_had_no_effect_is_left_to_the_next_run(tmp_path: Path, server: Recording) -> None:
    repo = Repo.make(tmp_path / "repo", "lab", f"servers: {{lab: {{base_url: '{server.url}', lag: 1}}}}\n")
    repo.spec("a")
    fail_the_first_create(server, "refuse")
    assert "It was not sent again" in repo.run("apply", "--auto-approve", "--wait", code=1).out
    assert server.jobs() == []
    repo.run("apply", "--auto-approve", "--wait")
    assert server.statuses("a") == ["succeeded"]
