"""What nothing needs is listed, and goes when approved; what anything needs stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from program import Repo, chat

LOCAL = ("--server", "local")


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo.make(tmp_path)


def gc(repo: Repo, *arguments: str, code: int = 0) -> dict[str, Any]:
    result = repo.run("gc", *LOCAL, "--format", "json", "--older-than", "0", *arguments, code=code)
    document: dict[str, Any] = result.json
    return document


def test_old_data_and_checkpoints_go_once_approved(repo: Repo) -> None:
    repo.spec("shop", hyperparameters={"n_epochs": 2})
    repo.apply("--wait")
    assert gc(repo)["garbage"] == []
    repo.rows("train.jsonl", chat(word="and"))
    repo.apply("--wait")

    listed = gc(repo)
    assert {item["kind"] for item in listed["garbage"]} == {"file", "model"}
    assert (listed["approved"], {item["outcome"] for item in listed["garbage"]}) == (False, {"listed"})
    assert listed["bytes"] == sum(item["bytes"] or 0 for item in listed["garbage"]) > 0
    text = repo.run("gc", *LOCAL, "--older-than", "0")
    assert "1 data file and 2 checkpoints can go" in text.out
    assert text.err == "Nothing was deleted.\n"
    assert gc(repo) == listed

    assert {item["outcome"] for item in gc(repo, "--auto-approve")["garbage"]} == {"deleted"}
    assert gc(repo)["garbage"] == []
    assert repo.plan("--detailed-exitcode").json["summary"]["none"] == 1

    repo.rows("train.jsonl", chat())
    assert repo.plan("--detailed-exitcode").json["summary"]["none"] == 1, "going back costs nothing"


def test_what_is_new_stays(repo: Repo) -> None:
    repo.spec("shop")
    repo.apply("--wait")
    repo.rows("train.jsonl", chat(word="and"))
    repo.apply("--wait")
    assert repo.run("gc", *LOCAL, "--format", "json").json["garbage"] == []


def test_a_part_of_the_specs_says_nothing_of_what_the_rest_needs(repo: Repo) -> None:
    repo.spec("shop")
    repo.apply("--wait")
    refused = repo.run("gc", "specs/shop.yaml", *LOCAL, "--auto-approve", code=64)
    assert "not all specs" in refused.err
    repo.remove("shop")
    assert "not all specs" in repo.run("gc", *LOCAL, "--auto-approve", code=64).err
