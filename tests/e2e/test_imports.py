"""Jobs made elsewhere become specs, and nothing is trained again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from program import LONG, Repo
from recording import Recording, recording

THEIRS = "example.com/theirs"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Recording]:
    with recording(tmp_path / "server") as server:
        yield server


def test_another_owners_work_goes_on_under_ours(tmp_path: Path, server: Recording) -> None:
    theirs, ours = (Repo.make(tmp_path / who, server.url) for who in ("theirs", "ours"))
    theirs.write("reconciler.yaml", f"owner: {THEIRS}\n")
    theirs.spec("base", validation_file="data/train.jsonl", hyperparameters={"n_epochs": 2}, suffix="Größe 模型")
    theirs.spec("next", model={"job": "base", "checkpoint": "best"})
    theirs.apply("--wait")
    theirs.spec("long", **LONG)
    theirs.apply()
    server.until("long", "running")
    server.forget()

    flag = ("--take-over", THEIRS)
    done = ours.run("import", *flag, "--download", "--format", "json").json
    assert {each["name"] for each in done["imported"]} == {"base", "next", "long"}
    assert ours.plan(*flag, "--detailed-exitcode").actions() == {"base": "none", "next": "none", "long": "none"}
    assert "job: base" in (ours.root / "specs/next.yaml").read_text()
    assert ours.plan().actions() == {"base": "none", "next": "none", "long": "blocked"}

    ours.run("cancel", "long")
    ours.apply()
    assert server.changes == []  # an active job of another owner is acted on with the flag only
    ours.apply(*flag)
    assert server.statuses("long") == ["cancelled"]
    assert ours.plan("--detailed-exitcode").actions() == {"base": "none", "next": "none", "long": "none"}


def test_the_same_specs_under_a_new_owner_buy_nothing_again(tmp_path: Path, server: Recording) -> None:
    repo = Repo.make(tmp_path / "repo", server.url)
    repo.spec("a")
    repo.apply("--wait")
    server.forget()
    moved = ("--owner", "example.com/moved")
    assert repo.plan(*moved).actions() == {"a": "create"}
    repo.apply(*moved, "--take-over", "example.com/e2e", "--wait")
    assert server.changes == []
