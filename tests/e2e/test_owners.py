"""Jobs belong to an owner; nobody else's are ever touched, whatever they are called."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import LONG, ROOT, Repo, chat
from recording import Recording, recording


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Recording]:
    with recording(tmp_path / "server") as server:
        yield server


def test_two_owners_on_one_server_leave_each_other_alone(tmp_path: Path, server: Recording) -> None:
    ours, theirs = (Repo.make(tmp_path / who, server.url) for who in ("ours", "theirs"))
    theirs.write("reconciler.yaml", "owner: example.com/theirs\n")
    for repo in (ours, theirs):
        repo.spec("same", **LONG)
        repo.apply()
    assert len(server.by_name("same")) == 2
    ours.remove("same")
    ours.apply("--allow-empty")
    assert sorted(s == "cancelled" for s in server.statuses("same")) == [False, True]
    assert theirs.plan("--detailed-exitcode").actions() == {"same": "none"}
    assert ours.plan("--detailed-exitcode", "--allow-empty").actions() == {}


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"reconciler.name": "same"},
        {"reconciler.owner": "example.com/e2e-too", "reconciler.name": "same", "reconciler.revision": "ab.1"},
        {"reconciler.owner": "example.com/e2e", "reconciler.name": "same", "reconciler.revision": "???"},
    ],
)
def test_a_foreign_job_is_never_touched(tmp_path: Path, server: Recording, metadata: dict[str, str]) -> None:
    repo = Repo.make(tmp_path / "repo", server.url)
    upload = {"file": ("foreign.jsonl", (repo.root / "specs/data/long.jsonl").read_bytes())}
    file = server.http.post("/files", data={"purpose": "fine-tune"}, files=upload).raise_for_status().json()
    body = {"model": "simulated-slow", "training_file": file["id"], "suffix": "same", "metadata": metadata}
    job = server.http.post("/fine_tuning/jobs", json=body).raise_for_status().json()

    repo.spec("same", state="cancelled", **LONG)
    repo.apply()
    repo.spec("same", **LONG)
    repo.apply()
    repo.remove("same")
    repo.apply("--allow-empty")
    now = server.http.get(f"/fine_tuning/jobs/{job['id']}").json()
    assert now["status"] not in {"cancelled", "paused", "pausing"}
    assert not any(job["id"] in change for change in server.changes)


def test_environments_never_touch_each_others_jobs(tmp_path: Path, server: Recording) -> None:
    root = tmp_path / "repo"
    repo = Repo.make(root, server.url)
    repo.write("reconciler.yaml", (ROOT / "examples/environments/reconciler.yaml").read_text())
    repo.rows("countries.jsonl", chat(300))
    repo.spec("countries", **LONG | {"training_file": "data/countries.jsonl"})
    for name in ("staging", "production"):
        repo.apply("--environment", name)
    staging, production = server.by_name("countries")
    assert staging["metadata"]["reconciler.owner"] == "example.com/countries@staging"
    assert production["metadata"]["reconciler.owner"] == "example.com/countries@production"
    assert staging["model"] == "gpt-4.1-nano-2025-04-14"
    assert staging["metadata"]["stage"] == "staging"
    for name in ("staging", "production"):
        assert repo.plan("--environment", name, "--detailed-exitcode").actions() == {"countries": "none"}

    repo.spec("countries", state="cancelled", **LONG | {"training_file": "data/countries.jsonl"})
    repo.apply("--environment", "staging")
    assert repo.plan("--environment", "production").actions() == {"countries": "blocked"}  # protected
    assert server.by_name("countries")[1]["status"] != "cancelled"


def test_an_owner_comes_from_the_flag_the_variable_the_settings_or_the_remote(
    tmp_path: Path, server: Recording
) -> None:
    repo = Repo.make(tmp_path / "repo", server.url)
    repo.spec("a")
    assert repo.plan().json["owner"] == "example.com/e2e"
    with_variable = Repo(repo.root, server.url, {"RECONCILER_OWNER": "from-variable"})
    assert with_variable.plan().json["owner"] == "from-variable"
    assert with_variable.plan("--owner", "from-flag").json["owner"] == "from-flag"
    (repo.root / "reconciler.yaml").unlink()
    assert "--owner" in repo.run("plan", code=64).err
    for command in (["init", "-q"], ["remote", "add", "origin", "git@git.example.com:team/models.git"]):
        subprocess.run(["git", *command], cwd=repo.root, check=True)
    assert repo.plan().json["owner"] == "git.example.com/team/models"
