"""Every revision is found, with the commit that brought it, in repositories as people make them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from repository import Specs

from reconciler.spec.load import load


@pytest.fixture
def specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Specs:
    made = Specs.make(tmp_path / "repo")
    monkeypatch.chdir(made.root)
    return made


def test_each_revision_has_the_commit_that_brought_it(specs: Specs) -> None:
    specs.spec("a")
    first = specs.commit("first")
    specs.write("README", "of no account")
    specs.commit("nothing about specs")
    specs.spec("a", description="other words")
    specs.commit("the same revision")
    specs.spec("a", seed=1)
    second = specs.commit("seed")
    found = specs.past().versions
    assert [(v.commit, v.subject, v.time) for v in found] == [
        (first, "first", 1_700_000_060),
        (second, "seed", 1_700_000_240),
    ]
    assert found[-1].revision == load(["specs"]).desired[0].revision
    content = (specs.root / "specs/data/train.jsonl").read_bytes()
    assert found[0].training == ("specs/data/train.jsonl", hashlib.sha256(content).hexdigest())
    assert (found[0].file, found[0].line, found[0].validation) == ("specs/a.yaml", 1, None)


def test_data_that_changes_makes_a_revision_and_data_that_moves_does_not(specs: Specs) -> None:
    specs.spec("a")
    specs.commit("first")
    specs.rows("two")
    specs.commit("data")
    specs.git("mv", "specs/data/train.jsonl", "specs/data/moved.jsonl")
    specs.spec("a", training_file="data/moved.jsonl")
    specs.commit("moved")
    specs.rows("three", "specs/data/moved.jsonl")
    specs.commit("data where it moved to")
    assert specs.subjects("a") == ["first", "data", "data where it moved to"]


def test_a_renamed_file_is_no_revision_and_a_renamed_spec_is_one_of_its_own_name(specs: Specs) -> None:
    specs.spec("a")
    specs.commit("first")
    specs.git("mv", "specs/a.yaml", "specs/deep.yaml")
    specs.commit("renamed file")
    specs.spec("b", file="deep")
    specs.commit("renamed spec")
    past = specs.past()
    assert [(v.name, v.subject) for v in past.versions] == [("a", "first"), ("b", "renamed spec")]
    revision = past.versions[0].revision
    assert past.versions[1].revision == revision
    assert past.find("gone", revision, specs.time) == past.versions[1]
    assert past.find("a", revision, specs.time) == past.versions[0]


def test_a_matrix_has_versions_for_every_cell(specs: Specs) -> None:
    specs.spec("a", matrix={"seed": [1, 2]})
    specs.commit("grid")
    before = {v.name for v in specs.past().versions}
    specs.spec("a", matrix={"seed": [1, 2, 3]})
    specs.commit("one more")
    found = specs.past().versions
    assert {v.name for v in found if v.subject == "grid"} == before
    assert (len(before), [v.subject for v in found]) == (2, ["grid", "grid", "one more"])


def test_a_revert_brings_a_revision_back_and_the_job_is_given_the_newest_before_it(specs: Specs) -> None:
    specs.spec("a")
    specs.commit("first")
    first_time = specs.time
    specs.spec("a", seed=1)
    specs.commit("seed")
    back = specs.commit("", "revert", "--no-edit", "HEAD")
    past = specs.past()
    assert [v.subject for v in past.versions] == ["first", "seed", 'Revert "seed"']
    revision = past.versions[0].revision
    assert past.find("a", revision, specs.time) == past.versions[2]
    assert past.versions[2].commit == back
    assert past.find("a", revision, first_time) == past.versions[0]
    assert past.find("a", revision, first_time - 3600) == past.versions[0], "applied before it was committed"
    assert past.find("a", "f" * 64, specs.time) is None


def test_branches_tags_and_merges_are_read(specs: Specs) -> None:
    specs.spec("a")
    specs.commit("first")
    specs.git("checkout", "-q", "-b", "side")
    specs.spec("a", seed=1)
    specs.commit("on the side")
    specs.git("checkout", "-q", "main")
    specs.spec("b")
    specs.commit("on main")
    specs.commit("", "merge", "-q", "-m", "merge", "side")
    assert specs.subjects("a") == ["first", "on the side"]
    assert specs.subjects("b") == ["on main"]
    specs.git("checkout", "-q", "-b", "lost")
    specs.spec("a", seed=2)
    specs.commit("tagged only")
    specs.git("tag", "kept")
    specs.git("checkout", "-q", "main")
    specs.git("branch", "-q", "-D", "lost")
    assert specs.subjects("a") == ["first", "on the side", "tagged only"]


def test_what_only_a_merge_says_is_found(specs: Specs) -> None:
    specs.spec("a")
    specs.commit("first")
    specs.git("checkout", "-q", "-b", "side")
    specs.spec("a", seed=1)
    specs.commit("side")
    specs.git("checkout", "-q", "main")
    specs.git("merge", "-q", "--no-ff", "--no-commit", "side")
    specs.spec("a", seed=7)
    specs.commit("merged otherwise")
    specs.git("config", "log.diffMerges", "first-parent")
    assert specs.subjects("a") == ["first", "side", "merged otherwise"]


def test_a_spec_is_bought_anew_where_the_spec_below_it_changed(specs: Specs) -> None:
    specs.spec("base")
    specs.spec("mid", model={"job": "base"})
    specs.spec("top", model={"job": "mid"})
    specs.commit("chain")
    specs.spec("base", seed=1)
    specs.commit("new base")
    assert specs.subjects("top") == ["chain", "new base"]
    assert {v.revision for v in specs.past().versions if v.name == "top"} >= {
        spec.revision for spec in load(["specs"]).desired if spec.name == "top"
    }


@pytest.mark.parametrize(
    "broken",
    [
        "a: [",
        "name: \x01",
        "- just\n- a list\n",
        "[" * 3000,
        '{"name": "bad", "model": "m", "training_file": "data/a\\nb.jsonl"}',
        '{"name": "bad", "model": "m", "training_file": "data/a\\u0000b.jsonl"}',
        '{"name": "bad", "model": "m", "training_file": "data/a\\ud800b.jsonl"}',
        '{"name": "bad", "model": "m", "training_file": "../../../etc/passwd"}',
        '{"name": "bad", "model": "m", "training_file": "data/missing.jsonl"}',
    ],
)
def test_a_spec_that_cannot_be_read_hides_no_other(specs: Specs, broken: str) -> None:
    specs.spec("a")
    specs.write("specs/bad.yaml", broken)
    specs.commit("one is bad")
    specs.spec("a", seed=1)
    specs.commit("still bad")
    specs.spec("bad")
    specs.commit("mended")
    past = specs.past()
    assert past.notes == ()
    assert [(v.name, v.subject) for v in past.versions] == [
        ("a", "one is bad"),
        ("a", "still bad"),
        ("bad", "mended"),
    ]


def test_settings_that_cannot_be_read_hide_their_commit_alone(specs: Specs) -> None:
    specs.spec("a")
    specs.commit("good")
    specs.write("reconciler.yaml", "owner: [")
    specs.spec("a", seed=1)
    specs.commit("bad settings")
    specs.write("reconciler.yaml", "owner: example.com/us\n")
    specs.commit("mended")
    assert specs.subjects("a") == ["good", "mended"]


def test_a_directory_may_take_the_place_of_a_file_and_go_again(specs: Specs) -> None:
    specs.spec("a", file="x.yaml/one", training_file="../data/train.jsonl")
    specs.commit("directory")
    specs.git("rm", "-rq", "specs/x.yaml")
    specs.spec("a", file="x", seed=1)
    specs.commit("file")
    specs.git("rm", "-q", "specs/x.yaml")
    specs.spec("a", file="x.yaml/one", training_file="../data/train.jsonl", seed=2)
    specs.commit("directory again")
    past = specs.past()
    assert ([v.subject for v in past.versions], past.notes) == (["directory", "file", "directory again"], ())


def test_an_environment_is_read_as_each_commit_had_it(specs: Specs) -> None:
    specs.spec("a")
    specs.commit("no environment yet")
    specs.write("reconciler.yaml", "owner: example.com/us\nenvironments:\n  prod:\n    overrides: {seed: 1}\n")
    specs.commit("prod")
    specs.write("reconciler.yaml", "owner: example.com/us\nenvironments:\n  prod:\n    overrides: {seed: 2}\n")
    specs.commit("prod only")
    assert specs.subjects("a") == ["no environment yet"]
    assert specs.subjects("a", environment="prod") == ["prod", "prod only"]


def test_what_is_not_committed_is_said_to_be_so(specs: Specs) -> None:
    specs.spec("a")
    specs.commit("first")
    specs.spec("a", seed=1)
    specs.spec("b")
    found = specs.past().versions
    assert [(v.name, v.commit is None) for v in found] == [("a", False), ("a", True), ("b", True)]
    assert found[1].file == "specs/a.yaml"
    assert specs.past().find("a", found[1].revision, 0) == found[1]


def test_a_detached_head_counts(specs: Specs) -> None:
    specs.spec("a")
    specs.commit("first")
    specs.git("checkout", "-q", "--detach")
    specs.spec("a", seed=1)
    specs.commit("on no branch")
    assert specs.subjects("a") == ["first", "on no branch"]


def test_a_shallow_clone_says_so(specs: Specs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specs.spec("a")
    specs.commit("first")
    specs.spec("a", seed=1)
    specs.commit("second")
    clone = tmp_path / "clone"
    specs.git("clone", "-q", "--depth=1", f"file://{specs.root}", str(clone))
    monkeypatch.chdir(clone)
    past = Specs(clone).past()
    assert [v.subject for v in past.versions] == ["second"]
    assert past.notes == ("this clone is shallow: older commits are found after git fetch --unshallow",)


def test_without_a_repository_the_specs_are_all_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = Specs(tmp_path)
    specs.rows("one")
    specs.spec("a")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LC_ALL", "C")
    past = specs.past()
    assert [(v.name, v.commit) for v in past.versions] == [("a", None)]
    (note,) = past.notes
    assert note.startswith("no commits: not a git repository")  # how far git has looked depends on the disk


def test_without_a_commit_the_specs_are_all_there_is(specs: Specs) -> None:
    specs.spec("a")
    past = specs.past()
    assert [(v.name, v.commit) for v in past.versions] == [("a", None)]
    assert past.notes == ("no commits: the repository has none yet",)


def test_without_git_that_is_said(specs: Specs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    specs.spec("a")
    specs.commit("first")
    monkeypatch.setenv("PATH", str(tmp_path))
    past = specs.past()
    assert [(v.name, v.commit) for v in past.versions] == [("a", None)]
    assert past.notes == ("no commits: git is not installed",)


def test_a_root_below_the_top_and_a_path_outside_it(specs: Specs, monkeypatch: pytest.MonkeyPatch) -> None:
    below = Specs(specs.root / "ml")
    specs.spec("above")
    below.write("reconciler.yaml", "owner: example.com/ml\n")
    below.rows("below")
    below.spec("a")
    first = specs.commit("both")
    monkeypatch.chdir(below.root)
    assert [(v.name, v.commit) for v in below.past().versions] == [("a", first)]
    assert [(v.name, v.commit) for v in below.past(paths=("specs/a.yaml",)).versions] == [("a", first)]
    assert [(v.name, v.commit) for v in below.past(paths=(".",)).versions] == [("a", first)]


def test_large_files_kept_elsewhere_are_known_by_their_pointers(specs: Specs) -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize 1\n"
    data = specs.root / "specs/data/train.jsonl"
    content = data.read_text()
    specs.spec("a")
    data.write_text(pointer)
    specs.commit("pointer")
    data.write_text(content)
    first = specs.past().versions[0]
    assert (first.subject, first.training) == ("pointer", ("specs/data/train.jsonl", digest))


def test_data_behind_a_link_is_found(specs: Specs) -> None:
    (specs.root / "specs/data/link.jsonl").symlink_to("train.jsonl")
    (specs.root / "specs/data/loose.jsonl").symlink_to("nowhere.jsonl")
    specs.spec("a", training_file="data/link.jsonl")
    specs.commit("link")
    specs.spec("b")
    specs.commit("another")
    assert specs.subjects("a") == ["link"]
    specs.spec("c", training_file="data/loose.jsonl")
    specs.commit("leads nowhere")
    (specs.root / "specs/c.yaml").unlink()
    specs.spec("b", seed=3)
    specs.commit("after")
    assert specs.subjects("b") == ["another", "after"]


def test_a_subject_in_no_known_encoding_can_still_be_read(specs: Specs) -> None:
    specs.spec("a")
    specs.commit("", "-c", "i18n.commitEncoding=none-such", "commit", "-q", "-m", b"caf\xe9")
    assert [s.encode(errors="surrogateescape") for s in specs.subjects("a")] == [b"caf\xe9"]
    cache = specs.root / ".reconciler/cache.db"
    cache.parent.mkdir()
    assert [specs.subjects("a", cache=cache) for _ in range(2)] == [["caf\udce9"]] * 2


def test_the_cache_changes_no_answer_and_git_is_not_touched(specs: Specs, tmp_path: Path) -> None:
    cache = tmp_path / "cache.db"
    specs.spec("a")
    specs.commit("first")
    specs.spec("a", seed=1)
    specs.commit("second")
    specs.spec("a", seed=2)
    os.utime(specs.root / "specs/a.yaml", (1, 1))  # status would refresh the index
    index = specs.root / ".git/index"
    before = index.stat().st_mtime_ns, index.read_bytes(), sorted(specs.root.rglob("*"))
    answers = [specs.past(cache=cache) for _ in range(2)] + [specs.past()]
    assert answers[0] == answers[1] == answers[2]
    assert (index.stat().st_mtime_ns, index.read_bytes(), sorted(specs.root.rglob("*"))) == before
    assert specs.git("status", "--porcelain") == "M specs/a.yaml"
