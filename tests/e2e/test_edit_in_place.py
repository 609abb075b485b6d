"""Specs are paused, resumed and cancelled where they stand; drift and the graph only look."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import LONG, Repo
from recording import Recording, recording

SPEC = """\
# What we sell.
name: shop   # one of two
model: gpt-4.1-nano-2025-04-14
training_file: ../data/train.jsonl
---
model: {job: shop, checkpoint: best}
training_file: '../data/train.jsonl'
name: "second"
"""


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo.make(tmp_path / "repo", server=None)
    repo.write("specs/team/shop.yaml", SPEC)
    return repo


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Recording]:
    with recording(tmp_path / "server") as server:
        yield server


def content(repo: Repo) -> str:
    return (repo.root / "specs/team/shop.yaml").read_text()


def test_pause_adds_a_line_to_each_spec_and_shows_the_diff(repo: Repo) -> None:
    done = repo.run("pause", "second", "shop")
    first = SPEC.replace("# one of two\n", "# one of two\nstate: paused\n")
    assert content(repo) == first + 'state: "paused"\n'
    assert done.out.startswith("--- a/specs/team/shop.yaml\n+++ b/specs/team/shop.yaml\n@@ ")
    assert [line for line in done.out.splitlines()[2:] if line[0] in "+-"] == ["+state: paused", '+state: "paused"']
    assert done.err == "Next: commit it, then: reconciler apply\n"


def test_resume_and_cancel_set_the_line_that_is_there(repo: Repo) -> None:
    repo.run("pause", "shop")
    paused = content(repo)
    repo.run("resume", "shop")
    assert content(repo) == paused.replace("paused", "running")
    repo.run("cancel", "shop", "specs/team")
    assert content(repo) == paused.replace("paused", "cancelled")


def test_what_is_so_already_is_left_and_said(repo: Repo) -> None:
    done = repo.run("resume", "shop")
    assert (done.out, done.err) == ("", "shop is running already.\n")
    assert content(repo) == SPEC


def test_a_dry_run_shows_the_same_and_writes_nothing(repo: Repo) -> None:
    dry = repo.run("pause", "shop", "--dry-run")
    assert dry.err == "Nothing was written.\n"
    assert content(repo) == SPEC
    assert repo.run("pause", "shop").out == dry.out


def test_the_document_has_the_exact_diff(repo: Repo) -> None:
    document = repo.run("cancel", "shop", "second", "--format", "json").json
    file = os.path.join("specs", "team", "shop.yaml")  # noqa: PTH118 - a path as the platform shows it
    assert document["specs"] == [
        {"name": name, "file": file, "jobs": [name], "from": "running", "to": "cancelled"}
        for name in ("shop", "second")
    ]
    assert document["written"] is True
    assert "\n+state: cancelled\n" in document["diff"]
    again = repo.run("cancel", "shop", "--format", "json").json
    assert (again["diff"], again["written"]) == ("", False)


def test_names_and_paths_are_told_apart(repo: Repo) -> None:
    (repo.root / "shop").mkdir()  # a directory called like the spec: the first argument is a name
    repo.run("pause", "shop", "specs")
    repo.run("pause", "specs/team/shop.yaml", "second")
    assert content(repo).count("paused") == 2
    assert "No spec is named 'specs'" in repo.run("pause", "specs", "shop", code=64).err
    assert "Put its NAME before the PATHS" in repo.run("pause", "specs/", code=64).err
    assert "cannot be edited" in repo.run("pause", "shop", "-", code=64).err


def test_nothing_is_written_unless_all_of_it_can_be(repo: Repo) -> None:
    repo.spec("kept", protect=True)
    assert "true: kept is never cancelled" in repo.run("cancel", "shop", "kept", code=1).err
    assert "did you mean 'second'" in repo.run("cancel", "shop", "secnd", code=64).err
    repo.write("specs/bad.yaml", "name: bad\nmodle: m\n")
    assert "specs/bad.yaml:2:1" in repo.run("cancel", "shop", code=1).err
    assert content(repo) == SPEC


def test_a_matrix_is_paused_as_a_whole(repo: Repo) -> None:
    repo.spec("grid", hyperparameters={}, matrix={"hyperparameters.n_epochs": [1, 2]})
    assert "Name grid" in repo.run("pause", "grid-1", code=64).err
    assert "grid: paused for the 2 jobs of its matrix." in repo.run("pause", "grid").err
    states = {node["name"]: node["state"] for node in repo.run("graph", "--format", "json").json["nodes"]}
    assert states == {"grid-1": "paused", "grid-2": "paused", "shop": "running", "second": "running"}


def test_an_environment_that_sets_the_state_is_named(repo: Repo) -> None:
    repo.write("reconciler.yaml", "owner: o\nenvironments:\n  prod:\n    overrides: {state: paused}\n  test: {}\n")
    assert "reconciler.yaml:4:17: state: is set here" in repo.run("resume", "shop", "-e", "prod", code=1).err
    assert "reconciler apply --environment test" in repo.run("pause", "shop", "-e", "test").err
    assert "Not so in prod" in repo.run("cancel", "shop").err


@pytest.mark.skipif(os.name == "nt", reason="modes and symlinks of POSIX")
def test_mode_and_symlink_of_a_file_are_kept(repo: Repo) -> None:
    file = repo.root / "specs/team/shop.yaml"
    real = file.rename(repo.root / "shop.real")
    real.chmod(0o640)
    file.symlink_to(real)
    repo.run("pause", "shop")
    assert file.is_symlink()
    assert "paused" in real.read_text()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_what_is_paused_in_place_pauses_at_the_next_apply(repo: Repo, server: Recording) -> None:
    repo = Repo(repo.root, server.url)
    repo.spec("long", **LONG)
    repo.apply("--target", "long")
    server.until("long", "running")
    repo.run("pause", "long")
    repo.apply("--target", "long")
    assert server.statuses("long") == ["paused"]
    repo.run("resume", "long")
    assert repo.plan("--target", "long").actions() == {"long": "resume"}


def test_drift_is_what_others_did_and_sends_no_change(repo: Repo, server: Recording) -> None:
    repo = Repo(repo.root, server.url)
    (repo.root / "specs/team/shop.yaml").unlink()
    repo.spec("long", **LONG)
    assert repo.run("drift").out == "No drift.\n"
    repo.apply()
    server.until("long", "running")
    assert repo.run("drift", "--format", "json").json == {"drift": [], "count": 0}

    job = server.jobs()[0]["id"]
    server.http.post(f"/fine_tuning/jobs/{job}/pause").raise_for_status()
    server.until("long", "paused")
    server.forget()
    found = repo.run("drift", "--format", "json", code=3).json
    reason = "is paused; the spec says running"
    expected = {"name": "long", "job_id": job, "desired": "running", "status": "paused", "reason": reason}
    assert found == {"drift": [expected], "count": 1}
    text = repo.run("drift", code=3).out
    assert reason in text
    assert "1 job differs" in text
    assert server.changes == []


def test_the_graph_needs_neither_server_nor_data(repo: Repo) -> None:
    for file in (repo.root / "specs/data").iterdir():
        file.unlink()
    tree = repo.run("graph").out.splitlines()
    assert [line.split("  ")[0] for line in tree] == ["NAME", "shop", "`-- second"]
    assert "best checkpoint of shop" in tree[2]
    assert "s1 -->|best| s0" in repo.run("graph", "--format", "mermaid").out
    assert repo.run("graph", "--format", "json").json["edges"] == [
        {"from": "shop", "to": "second", "checkpoint": "best"}
    ]
