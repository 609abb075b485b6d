"""What the work tree's specs change against those of a commit, without a server."""

from __future__ import annotations

from pathlib import Path

import pytest
from repository import Specs

from reconciler.history.compare import compare
from reconciler.history.git import Git
from reconciler.plan.model import Change, Difference
from reconciler.spec.load import load


@pytest.fixture
def specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Specs:
    specs = Specs.make(tmp_path / "repo")
    monkeypatch.chdir(specs.root)
    return specs


def against(commit: str, *paths: str) -> dict[str, Change]:
    paths = paths or ("specs",)
    with Git(Path.cwd()) as git:
        changes = compare(git, Path.cwd(), paths, None, commit, load(paths).desired)
    assert len({change.name for change in changes}) == len(changes)
    return {change.name: change for change in changes}


def test_a_change_reaches_what_is_built_on_it(specs: Specs) -> None:
    specs.spec("a")
    specs.spec("b", model={"job": "a"})
    base = specs.commit("base")
    specs.spec("a", seed=1)
    found = against(base)
    assert found["a"].diff == (Difference("seed", None, "1"),)
    [model] = found["b"].diff
    assert model.field == "model"
    assert [str(side).partition(" at ")[0] for side in (model.old, model.new)] == ["a (last"] * 2
    assert found["b"].action == "create"


def test_names_that_take_the_place_of_others_buy_nothing_and_each_only_one(specs: Specs) -> None:
    for name in ("a", "b"):
        specs.spec(name)
    base = specs.commit("base")
    for name in ("a", "b"):
        (specs.root / f"specs/{name}.yaml").unlink()
        specs.spec(f"{name}2")
    specs.spec("c")
    reasons = {name: (change.action.value, change.reason) for name, change in against(base).items()}
    assert reasons == {
        "a2": ("none", "was a, whose job counts"),
        "b2": ("none", "was b, whose job counts"),
        "c": ("create", "is new"),
    }


def test_in_a_part_of_the_specs_nothing_is_gone(specs: Specs) -> None:
    specs.spec("a")
    specs.spec("b", file="ab")
    base = specs.commit("base")
    (specs.root / "specs/ab.yaml").unlink()
    assert {name: change.action.value for name, change in against(base).items()} == {"a": "none", "b": "cancel"}
    assert list(against(base, "specs/a.yaml")) == ["a"]


def test_a_spec_whose_data_the_commit_lacks_counts_as_new(specs: Specs) -> None:
    specs.spec("a", training_file="data/late.jsonl")
    base = specs.commit("base")
    specs.rows("late", "specs/data/late.jsonl")
    assert against(base)["a"].reason == "is new"


def test_data_that_is_not_in_git_itself_has_no_rows_to_count(specs: Specs) -> None:
    specs.write(
        "specs/data/train.jsonl", f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n"
    )
    specs.spec("a")
    base = specs.commit("base")
    specs.rows("here")
    [difference] = against(base)["a"].diff
    assert (difference.old, difference.rows_added) == ("0" * 8, None)


@pytest.mark.parametrize(
    ("state", "action", "words"),
    [("paused", "hold", "paused: nothing is created"), ("cancelled", "none", "cancelled: nothing is created")],
)
def test_what_is_new_and_not_to_run_buys_nothing(specs: Specs, state: str, action: str, words: str) -> None:
    base = specs.commit("base")
    specs.spec("a", state=state)
    found = against(base)["a"]
    assert (found.action, words in found.reason) == (action, True)
