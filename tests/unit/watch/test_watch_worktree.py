"""Reading a work tree in which somebody is at work."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from watch_support import ROW, Tree, spec

from reconciler.errors import ReconcilerError, UsageError
from reconciler.watch.worktree import SETTLED, WorkTree


async def test_a_file_with_an_error_is_read_as_it_was_when_it_was_last_good(tree: Tree) -> None:
    tree.write("specs/a.yaml", spec("a", "seed: 1"))
    before = await tree.revision("a")
    tree.write("specs/a.yaml", spec("a", "sead: 2"))
    snapshot = await tree.read()
    assert [d.revision for d in snapshot.repository.desired] == [before]
    [problem] = snapshot.problems
    assert problem.startswith("specs/a.yaml:4:1: sead: unknown key; did you mean 'seed'")
    assert problem.endswith("(the last good version of this file stands in its place)")
    assert snapshot.unsure


async def test_a_file_that_is_good_again_is_followed(tree: Tree) -> None:
    tree.write("specs/a.yaml", spec("a", "seed: 1"))
    before = await tree.revision("a")
    tree.write("specs/a.yaml", "nonsense: [")
    await tree.read()
    tree.write("specs/a.yaml", spec("a", "seed: 2"))
    snapshot = await tree.read()
    assert snapshot.problems == ()
    assert snapshot.unsure == ()
    assert await tree.revision("a") != before


async def test_a_file_that_was_never_good_is_left_out_and_the_others_are_followed(tree: Tree) -> None:
    tree.write("specs/a.yaml", spec("a"))
    tree.write("specs/b.yaml", "name: b\n")
    snapshot = await tree.read()
    assert [d.name for d in snapshot.repository.desired] == ["a"]
    assert "left out" in snapshot.problems[0]
    assert snapshot.unsure


async def test_what_is_built_on_a_file_with_an_error_stays_too(tree: Tree) -> None:
    tree.write("specs/a.yaml", spec("a", "seed: 1"))
    tree.write("specs/b.yaml", "name: b\nmodel: {job: a}\ntraining_file: data/train.jsonl\n")
    before = [await tree.revision(name) for name in "ab"]
    tree.write("specs/a.yaml", "name: [")
    assert [await tree.revision(name) for name in "ab"] == before


async def test_a_moved_spec_with_an_error_loses_no_job(tree: Tree) -> None:
    tree.write("specs/a.yaml", spec("a"))
    await tree.read()
    tree.remove("specs/a.yaml")
    tree.write("specs/new.yaml", spec("a", "sead: 1"))
    tree.time += 60
    assert (await tree.read()).unsure


async def test_a_name_that_is_missing_is_gone_only_after_a_while(tree: Tree) -> None:
    tree.write("specs/a.yaml", spec("a"))
    tree.write("specs/b.yaml", spec("b", "seed: 2"))
    await tree.read()
    tree.remove("specs/b.yaml")
    snapshot = await tree.read()
    assert snapshot.unsure == (f"b: gone for less than {SETTLED:g} s",)
    assert snapshot.again == SETTLED
    tree.time += SETTLED
    snapshot = await tree.read()
    assert (snapshot.unsure, snapshot.again) == ((), None)


@pytest.mark.parametrize("half", ["", "name: a\nmodel: m\ntraining_file: data/train.jsonl\n"])
async def test_a_half_saved_file_deletes_nothing(tree: Tree, half: str) -> None:
    whole = spec("a") + "---\n" + spec("b", "seed: 2")
    tree.write("specs/both.yaml", whole)
    await tree.read()
    tree.write("specs/both.yaml", half)
    assert (await tree.read()).unsure
    tree.write("specs/both.yaml", whole)
    tree.time += 60
    snapshot = await tree.read()
    assert [d.name for d in snapshot.repository.desired] == ["a", "b"]
    assert snapshot.unsure == ()


async def test_a_training_file_that_was_believed_is_believed_while_it_stays_as_it_is(tree: Tree) -> None:
    tree.write("specs/data/train.jsonl", ROW * 11, fresh=True)
    tree.write("specs/a.yaml", spec("a"))
    before = await tree.revision("a")
    tree.write("specs/b.yaml", spec("b", "seed: 2"))
    snapshot = await tree.read()
    assert (snapshot.problems, snapshot.unsure) == ((), ())
    assert {d.name: d.revision for d in snapshot.repository.desired}["a"] == before


async def test_a_training_file_that_is_still_being_written_is_not_believed(tree: Tree) -> None:
    tree.write("specs/a.yaml", spec("a"))
    before = await tree.revision("a")
    tree.write("specs/data/train.jsonl", ROW * 11, fresh=True)
    snapshot = await tree.read()
    assert "is still being written" in snapshot.problems[0]
    assert snapshot.again == SETTLED
    assert [d.revision for d in snapshot.repository.desired] in ([], [before])
    tree.time += SETTLED + 1
    snapshot = await tree.read()
    assert snapshot.problems == ()
    assert await tree.revision("a") != before


async def test_a_directory_that_vanishes_keeps_its_jobs_until_it_is_back(tree: Tree) -> None:
    tree.write("specs/a.yaml", spec("a"))
    tree.write("specs/team/data/train.jsonl", ROW * 10)
    tree.write("specs/team/b.yaml", spec("b", "seed: 2"))
    await tree.read()
    shutil.move(tree.root / "specs/team", tree.root / "elsewhere")
    tree.time += 3600
    snapshot = await tree.read()
    assert "specs/team has vanished" in snapshot.unsure[0]
    shutil.move(tree.root / "elsewhere", tree.root / "specs/team")
    snapshot = await tree.read()
    assert snapshot.unsure == ()
    assert [d.name for d in snapshot.repository.desired] == ["a", "b"]


def git(tree: Tree, *arguments: str) -> None:
    who = ("-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(tree.root), *who, *arguments], check=True, capture_output=True)


@pytest.mark.parametrize("tracked", [True, False])
async def test_a_directory_is_gone_once_its_removal_is_committed(tree: Tree, tracked: bool) -> None:
    tree.write("specs/a.yaml", spec("a"))
    tree.write("specs/team/b.yaml", spec("b", "seed: 2", data="../data/train.jsonl"))
    git(tree, "init", "--quiet")
    git(tree, "add", "--all" if tracked else "reconciler.yaml")
    git(tree, "commit", "--message", "x")
    await tree.read()
    shutil.rmtree(tree.root / "specs/team")
    await tree.read()
    tree.time += 3600
    assert "has vanished" in (await tree.read()).unsure[0]
    git(tree, "add", "--update")
    git(tree, "commit", "--allow-empty", "--message", "y")
    tree.time += 3600
    assert ((await tree.read()).unsure == ()) == tracked


@pytest.mark.parametrize("lost", ["specs", "reconciler.yaml"])
async def test_without_the_paths_or_the_settings_all_stays_as_it_was(tree: Tree, lost: str) -> None:
    tree.write("specs/a.yaml", spec("a"))
    await tree.read()
    shutil.move(tree.root / lost, tree.root / "elsewhere")
    snapshot = await tree.read()
    assert [d.name for d in snapshot.repository.desired] == ["a"]
    assert snapshot.unsure
    shutil.move(tree.root / "elsewhere", tree.root / lost)
    assert (await tree.read()).unsure == ()


async def test_settings_with_an_error_stay_as_they_were(tree: Tree) -> None:
    tree.write("reconciler.yaml", "owner: test\npolicy: {max_active: 2}\n")
    tree.write("specs/a.yaml", spec("a"))
    await tree.read()
    tree.write("reconciler.yaml", "owner: test\npolicy: {max_active: many}\n")
    snapshot = await tree.read()
    assert snapshot.repository.config.policy.max_active.total == 2
    assert "reconciler.yaml:2:" in snapshot.problems[0]


async def test_at_first_there_is_nothing_to_go_on_with(tree: Tree) -> None:
    tree.write("reconciler.yaml", "owner: [\n")
    with pytest.raises(ReconcilerError):
        await tree.read()
    tree.write("reconciler.yaml", "owner: test\n")
    missing = WorkTree(["nowhere"], None, cwd=tree.root)
    with pytest.raises(UsageError):
        await missing.read()
    missing.close()


async def test_nothing_is_read_again_while_no_file_changes(tree: Tree) -> None:
    tree.write("specs/a.yaml", spec("a"))
    first = await tree.read()
    assert not await tree.reader.changed()
    assert await tree.read() is first


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("specs/b.yaml", spec("b")),
        ("specs/data/train.jsonl", ROW * 12),
        ("reconciler.yaml", "owner: test\npolicy: {max_active: 1}\n"),
        (".reconcilerignore", "*.tmp.yaml\n"),
    ],
)
async def test_every_file_that_matters_is_noticed(tree: Tree, path: str, text: str) -> None:
    tree.write("specs/a.yaml", spec("a"))
    await tree.read()
    tree.write(path, text)
    assert await tree.reader.changed()


async def test_a_missing_training_file_is_noticed_once_it_comes(tree: Tree) -> None:
    tree.write("specs/a.yaml", spec("a", data="data/late.jsonl"))
    assert "does not exist" in (await tree.read()).problems[0]
    tree.write("specs/data/late.jsonl", ROW * 10)
    assert await tree.reader.changed()
    assert await tree.names() == ["a"]


async def test_a_file_that_editors_leave_beside_a_spec_is_not_noticed(tree: Tree) -> None:
    tree.write("specs/a.yaml", spec("a"))
    await tree.read()
    for name in ("specs/a.yaml~", "specs/.a.yaml.swp", "specs/4913", "notes.txt"):
        tree.write(name, "x")
    assert not await tree.reader.changed()
