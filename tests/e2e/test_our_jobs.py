"""The main job: our own specs become models on the embedded server, once."""

from __future__ import annotations

import csv
import io
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import ROOT, Repo
from recording import Recording, all_files, recording

JOBS = ["confirm", "deadlines", "inbox", "strict", "threads"] + [f"units-{b}-{r}" for b in (16, 4) for r in (0.5, 2)]
"""In the order of reports."""


def our_own(root: Path, server: str = "local") -> Repo:
    root.mkdir()
    shutil.copytree(ROOT / "specs", root / "specs")
    shutil.copy(ROOT / "reconciler.yaml", root)
    return Repo(root, server)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """Our jobs, trained. Tests only read."""
    repo = our_own(tmp_path_factory.mktemp("trained") / "repo")
    started = time.monotonic()
    done = repo.run("apply", "specs", "--auto-approve", "--wait")
    took = time.monotonic() - started
    print(f"all our jobs were trained in {took:.1f} s")
    assert took < 90
    assert "Applied: 9 done." in done.out
    return repo


def test_every_job_succeeds_and_the_second_plan_is_empty(trained: Repo) -> None:
    rows = trained.jobs()
    assert list(rows) == JOBS
    assert {row["status"] for row in rows.values()} == {"succeeded"}
    assert all(row["converged"] for row in rows.values())
    plan = trained.run("plan", "--detailed-exitcode")
    assert "No changes. 9 jobs match their specs." in plan.out


def test_documents_have_the_promised_keys(trained: Repo) -> None:
    plan = trained.plan().json
    assert {"owner", "changes", "summary", "fingerprint"} <= plan.keys()
    keys = {"name", "action", "reason", "job_id", "revision", "attempt", "diff"}
    assert all(keys <= change.keys() for change in plan["changes"])
    assert set(plan["summary"]) == {"create", "cancel", "pause", "resume", "wait", "hold", "blocked", "none"}
    assert plan["summary"]["none"] == 9
    keys = {"name", "job_id", "status", "desired", "revision", "attempt", "fine_tuned_model", "converged"}
    assert all(keys <= row.keys() for row in trained.jobs().values())
    applied = trained.apply().json
    assert {change["outcome"] for change in applied["changes"]} == {"skipped"}
    assert trained.plan().out == trained.plan().out


def test_outputs_in_every_format_hold_the_same_models(trained: Repo) -> None:
    models = trained.run("outputs").json
    assert list(models) == JOBS
    assert all(model.startswith("ft:") for model in models.values())
    for form in ("yaml", "env", "tfvars"):
        text = trained.run("outputs", "--format", form).out
        assert all(model in text for model in models.values())
        assert text.count("ft:") == 9


def test_a_chain_starts_from_what_its_base_produced(trained: Repo) -> None:
    base = trained.jobs()["inbox"]["fine_tuned_model"]
    checkpoints = trained.run("checkpoints", "inbox", "--format", "json").json["checkpoints"]
    best = min(checkpoints, key=lambda c: c["metrics"]["full_valid_loss"])
    assert all(c["fine_tuned_model_checkpoint"].startswith(f"{base}:ckpt-step-") for c in checkpoints)
    assert "best" in trained.run("checkpoints", "inbox").out
    assert best["step_number"] == max(c["step_number"] for c in checkpoints)
    assert trained.jobs()["threads"]["fine_tuned_model"].startswith("ft:gpt-4.1-mini-2025-04-14:")


def test_events_can_be_followed_to_the_end(trained: Repo) -> None:
    text = trained.run("events", "confirm").out
    followed = trained.run("events", "confirm", "--follow").out
    assert text.startswith(followed)  # and then draws the loss
    assert "simulated" in followed
    assert followed.endswith("The job has successfully completed\n")
    lines = trained.run("events", "confirm", "--follow", "--format", "json").out.splitlines()
    events = [json.loads(line) for line in lines]
    assert [e["message"] for e in events if e["type"] == "message"][-1] == "The job has successfully completed"
    assert len({e["id"] for e in events}) == len(events) == len(followed.splitlines())
    job_id = trained.jobs()["confirm"]["job_id"]
    assert trained.run("events", job_id).out == text


def test_markdown_and_text_reports_are_for_people(trained: Repo) -> None:
    assert "9" in trained.run("plan", "--format", "markdown").out
    verbose = trained.run("plan", "--verbose").out
    assert all(name in verbose for name in JOBS)
    status = trained.run("status").out
    assert "9 in all: 9 succeeded; 9 converged." in status
    for text in (verbose, status):
        assert "\x1b" not in text
        assert all(line == line.rstrip() for line in text.splitlines())


def test_outputs_are_written_whole(trained: Repo, tmp_path: Path) -> None:
    out = tmp_path / "models.json"
    done = trained.run("outputs", "--out", str(out))
    assert done.out == ""
    assert json.loads(out.read_text()) == trained.run("outputs").json
    assert list(tmp_path.iterdir()) == [out]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Recording]:
    with recording(tmp_path / "server", speed=4) as server:
        yield server


def test_a_second_apply_asks_and_changes_nothing(tmp_path: Path, server: Recording) -> None:
    repo = our_own(tmp_path / "repo", server.url)
    repo.apply("--wait")
    assert server.creates == 9
    names = [file["filename"] for file in all_files(server.http) if file["purpose"] == "fine-tune"]
    assert len(names) == len(set(names)) == server.changes.count("POST /v1/files")
    server.forget()
    assert repo.run("apply", "--auto-approve", "--wait").out.endswith("No changes. 9 jobs match their specs.\n")
    assert repo.run("plan", "--detailed-exitcode").code == 0
    assert server.changes == []
    assert len(server.recorder.requests) <= 4  # a listing each

    result = server.http.get(f"/files/{server.by_name('inbox')[0]['result_files'][0]}/content").text
    rows = list(csv.DictReader(io.StringIO(result)))
    assert [int(row["step"]) for row in rows] == list(range(1, 91))
