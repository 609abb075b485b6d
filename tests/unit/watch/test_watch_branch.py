"""Following a branch in a clone of our own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from watch_support import ROW, spec

from reconciler.errors import ReconcilerError
from reconciler.spec.remote import git_remote
from reconciler.watch.branch import Branch, Ref, clone_directory
from reconciler.watch.snapshot import Snapshot
from reconciler.watch.worktree import WorkTree


class Upstream:
    """A repository that people push to, and a branch that follows it."""

    def __init__(self, root: Path) -> None:
        self.root, self.clone = root / "upstream", root / "clone"
        self.time = 0.0
        self.root.mkdir()
        self.git("init", "--quiet", "--initial-branch", "main")
        self.commit(**{"reconciler.yaml": "owner: test\n", "specs/data/train.jsonl": ROW * 10})
        self.branch = self.follow("main")

    def follow(self, ref: str) -> Branch:
        def make() -> WorkTree:
            return WorkTree([str(self.clone / "specs")], None, cwd=self.clone, whole=True)

        return Branch(Ref(str(self.root), ref), self.clone, make, every=10, clock=lambda: self.time)

    def git(self, *arguments: str) -> str:
        who = ("-c", "user.name=x", "-c", "user.email=x@example.com")
        done = subprocess.run(
            ["git", "-C", str(self.root), *who, *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def clone_git(self, *arguments: str) -> None:
        subprocess.run(["git", "-C", str(self.clone), *arguments], check=True)

    def commit(self, **files: str | None) -> str:
        for path, text in files.items():
            file = self.root / path
            if text is None:
                file.unlink()
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "a change")
        return self.git("rev-parse", "HEAD")

    async def read(self) -> Snapshot:
        self.time += 10
        return await self.branch.read()

    async def names(self) -> list[str]:
        return [spec.name for spec in (await self.read()).repository.desired]


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    made = Upstream(tmp_path)
    yield made
    made.branch.close()


async def test_each_commit_is_followed(upstream: Upstream) -> None:
    upstream.commit(**{"specs/a.yaml": spec("a")})
    assert await upstream.names() == ["a"]
    commit = upstream.commit(**{"specs/b.yaml": spec("b"), "specs/team/c.yaml": spec("c", data="../data/train.jsonl")})
    snapshot = await upstream.read()
    assert [d.name for d in snapshot.repository.desired] == ["a", "b", "c"]
    assert snapshot.at == f"main is at {commit[:12]}: a change"


async def test_what_a_commit_lacks_is_gone_at_once(upstream: Upstream) -> None:
    upstream.commit(**{"specs/a.yaml": spec("a"), "specs/team/b.yaml": spec("b", data="../data/train.jsonl")})
    await upstream.read()
    upstream.commit(**{"specs/team/b.yaml": None})
    snapshot = await upstream.read()
    assert [d.name for d in snapshot.repository.desired] == ["a"]
    assert (snapshot.unsure, snapshot.again) == ((), None)


async def test_a_commit_with_a_bad_spec_keeps_its_last_good_version(upstream: Upstream) -> None:
    upstream.commit(**{"specs/a.yaml": spec("a"), "specs/b.yaml": spec("b")})
    await upstream.read()
    upstream.commit(**{"specs/a.yaml": "name: [", "specs/c.yaml": spec("c")})
    snapshot = await upstream.read()
    assert [d.name for d in snapshot.repository.desired] == ["a", "b", "c"]
    assert snapshot.problems[0].startswith("specs/a.yaml:")
    assert snapshot.unsure


async def test_a_rewound_branch_is_followed_and_said(upstream: Upstream) -> None:
    upstream.commit(**{"specs/a.yaml": spec("a")})
    await upstream.read()
    ahead = upstream.commit(**{"specs/b.yaml": spec("b")})
    assert (await upstream.read()).notes == ()
    upstream.git("reset", "--quiet", "--hard", "HEAD~1")
    snapshot = await upstream.read()
    assert [d.name for d in snapshot.repository.desired] == ["a"]
    assert f"main was rewound: {ahead[:12]}" in snapshot.notes[0]


async def test_a_branch_rewound_between_two_runs_is_said_too(upstream: Upstream) -> None:
    upstream.commit(**{"specs/a.yaml": spec("a")})
    upstream.commit(**{"specs/b.yaml": spec("b")})
    await upstream.read()
    upstream.branch.close()
    upstream.git("reset", "--quiet", "--hard", "HEAD~1")
    upstream.branch = upstream.follow("main")
    assert "was rewound" in (await upstream.read()).notes[0]


async def test_a_remote_that_is_away_leaves_all_as_it_was(upstream: Upstream) -> None:
    upstream.commit(**{"specs/a.yaml": spec("a")})
    await upstream.read()
    away = upstream.root.with_name("away")
    upstream.root.rename(away)
    snapshot = await upstream.read()
    assert [d.name for d in snapshot.repository.desired] == ["a"]
    assert "main cannot be fetched" in snapshot.problems[0]
    assert snapshot.unsure == ()
    upstream.branch.close()
    upstream.branch = upstream.follow("main")
    assert "which was followed last" in (await upstream.read()).problems[0]
    away.rename(upstream.root)
    assert (await upstream.read()).problems == ()


async def test_a_tag_can_be_followed(upstream: Upstream) -> None:
    upstream.commit(**{"specs/a.yaml": spec("a")})
    upstream.git("tag", "--annotate", "--message", "x", "v1")
    upstream.commit(**{"specs/b.yaml": spec("b")})
    upstream.branch = upstream.follow("v1")
    assert await upstream.names() == ["a"]


@pytest.mark.parametrize("ref", ["nowhere", "--upload-pack=touch x", "refs/heads/none"])
async def test_what_cannot_be_fetched_is_an_error_in_words(upstream: Upstream, ref: str) -> None:
    with pytest.raises(ReconcilerError, match=r"cannot be fetched"):
        await upstream.follow(ref).read()


async def test_the_remote_is_not_asked_more_often_than_it_should_be(upstream: Upstream) -> None:
    upstream.commit(**{"specs/a.yaml": spec("a")})
    await upstream.read()
    upstream.commit(**{"specs/b.yaml": spec("b")})
    upstream.time += 9
    assert len((await upstream.branch.read()).repository.desired) == 1
    upstream.time += 1
    assert len((await upstream.branch.read()).repository.desired) == 2


async def test_a_run_that_was_killed_in_a_checkout_is_in_nobodys_way(upstream: Upstream) -> None:
    upstream.commit(**{"specs/a.yaml": spec("a")})
    await upstream.read()
    upstream.branch.close()
    (upstream.clone / ".git/index.lock").write_text("")
    (upstream.clone / "specs/a.yaml").write_text("half")
    (upstream.clone / "specs/stray.yaml").write_text(spec("stray"))
    upstream.branch = upstream.follow("main")
    assert await upstream.names() == ["a"]


def renamed_and_failing(upstream: Upstream) -> None:
    """Rename a spec in a commit whose checkout fails half way: when the old file is gone and the new one not there."""
    attributes = {".gitattributes": "specs/new.yaml filter=full\n", "reconciler.yaml": "owner: test\n\n"}
    upstream.commit(**{"specs/old.yaml": None, "specs/new.yaml": spec("a"), **attributes})
    upstream.clone_git("config", "filter.full.smudge", "false")
    upstream.clone_git("config", "filter.full.required", "true")


async def test_a_checkout_that_fails_half_way_leaves_all_as_it_was(upstream: Upstream) -> None:
    upstream.commit(**{"specs/old.yaml": spec("a"), "specs/z.yaml": spec("z")})
    good = await upstream.read()
    renamed_and_failing(upstream)
    for _ in range(2):
        snapshot = await upstream.read()
        assert not (upstream.clone / "specs/old.yaml").exists()
        assert [d.name for d in snapshot.repository.desired] == ["a", "z"]
        assert snapshot.at == good.at
        assert snapshot.problems[0].startswith("main cannot be checked out: ")
        assert "half way" in snapshot.unsure[0]
    upstream.clone_git("config", "--unset", "filter.full.smudge")
    upstream.clone_git("config", "--unset", "filter.full.required")
    commit = upstream.commit(**{"specs/z.yaml": None})
    snapshot = await upstream.read()
    assert [d.source.file for d in snapshot.repository.desired] == ["specs/new.yaml"]
    assert (snapshot.problems, snapshot.unsure) == ((), ())
    assert commit[:12] in snapshot.at


async def test_a_branch_that_goes_back_after_a_checkout_that_failed_is_checked_out_again(upstream: Upstream) -> None:
    before = upstream.commit(**{"specs/old.yaml": spec("a")})
    await upstream.read()
    renamed_and_failing(upstream)
    assert (await upstream.read()).unsure
    upstream.git("reset", "--quiet", "--hard", before)
    snapshot = await upstream.read()
    assert (snapshot.problems, snapshot.unsure) == ((), ())
    assert (upstream.clone / "specs/old.yaml").exists()


async def test_a_run_that_begins_with_a_checkout_that_fails_begins_with_the_last_good_commit(
    upstream: Upstream,
) -> None:
    upstream.commit(**{"specs/old.yaml": spec("a")})
    await upstream.read()
    upstream.branch.close()
    renamed_and_failing(upstream)
    upstream.branch = upstream.follow("main")
    snapshot = await upstream.read()
    assert [d.source.file for d in snapshot.repository.desired] == ["specs/old.yaml"]
    assert "which was followed last" in snapshot.problems[0]


async def test_without_any_good_checkout_there_is_an_error_and_no_half_of_one(upstream: Upstream) -> None:
    await upstream.read()
    renamed = "specs/new.yaml filter=full\n"
    upstream.commit(**{"specs/old.yaml": spec("b"), "specs/new.yaml": spec("a"), ".gitattributes": renamed})
    upstream.clone_git("config", "filter.full.smudge", "false")
    upstream.clone_git("config", "filter.full.required", "true")
    upstream.clone_git("update-ref", "-d", "refs/reconciler/seen")
    upstream.branch.close()
    upstream.branch = upstream.follow("main")
    with pytest.raises(ReconcilerError, match="cannot be checked out"):
        await upstream.read()


async def test_a_git_that_was_killed_within_a_run_is_in_nobodys_way(upstream: Upstream) -> None:
    upstream.commit(**{"specs/a.yaml": spec("a")})
    await upstream.read()
    for lock in ("index.lock", "HEAD.lock", "refs/reconciler/seen.lock"):
        (upstream.clone / ".git" / lock).write_text("")
    upstream.commit(**{"specs/b.yaml": spec("b")})
    assert await upstream.names() == ["a", "b"]


@pytest.mark.parametrize("rest", [0, 10], ids=["before the remote is asked again", "when it is"])
@pytest.mark.parametrize("lost", ["specs/b.yaml", "specs", ".git", ""])
async def test_what_vanishes_from_the_clone_is_not_gone_and_is_made_again(
    lost: str, rest: float, upstream: Upstream
) -> None:
    upstream.commit(**{"specs/a.yaml": spec("a"), "specs/b.yaml": spec("b")})
    good = await upstream.read()
    path = upstream.clone / lost
    path.unlink() if path.is_file() else shutil.rmtree(path)
    upstream.time += rest
    assert await upstream.branch.read() == good
    upstream.time += 10
    assert await upstream.branch.read() == good
    assert (upstream.clone / "specs/b.yaml").exists()
    upstream.commit(**{"specs/b.yaml": None})
    assert await upstream.names() == ["a"]


async def test_what_a_fault_of_the_disk_hides_is_read_again(upstream: Upstream) -> None:
    upstream.commit(**{"specs/a.yaml": spec("a"), "specs/b.yaml": spec("b")})
    await upstream.read()
    upstream.commit(**{"specs/b.yaml": "name: ["})
    assert (await upstream.read()).unsure
    (upstream.clone / "specs/b.yaml").write_text(spec("b"))
    assert (await upstream.read()).unsure == ()


async def test_state_in_the_clone_outlives_a_commit_wherever_the_settings_stand(upstream: Upstream) -> None:
    upstream.commit(**{"team/reconciler.yaml": "owner: team\n"})
    await upstream.read()
    kept = [upstream.clone / folder / ".reconciler/server.db" for folder in (".", "team")]
    for file in kept:
        file.parent.mkdir()
        file.with_name(".gitignore").write_text("*\n")
        file.write_text("models")
    upstream.commit(**{"team/reconciler.yaml": None})
    await upstream.read()
    assert [file.read_text() for file in kept] == ["models"] * 2


async def test_hooks_of_the_machine_do_not_run(upstream: Upstream) -> None:
    await upstream.read()
    hook = upstream.clone / ".git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch ran\n")
    hook.chmod(0o755)
    upstream.commit(**{"specs/a.yaml": spec("a")})
    await upstream.read()
    assert not (upstream.clone / "ran").exists()


async def test_whose_jobs_these_are_is_what_a_clone_would_say(upstream: Upstream) -> None:
    upstream.git("remote", "add", "origin", "https://user:secret@example.com/org/repo.git")
    await upstream.read()
    assert git_remote(upstream.clone) == "example.com/org/repo"


def test_refs_and_environments_have_clones_of_their_own() -> None:
    made = {
        clone_directory(Ref(url, ref), environment, {"XDG_CACHE_HOME": "/cache"})
        for url in ("a", "b")
        for ref in ("main", "dev")
        for environment in (None, "prod")
    }
    assert len(made) == 8
