"""What was reviewed is what runs, and an old run takes nothing back: what a pipeline's apply refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from github import TOKEN, Runner, Stand, github
from pipeline import ci
from program import KEY, LONG, Repo, Result

from reconciler.ci.review import Review

REQUIRED = ("--require-reviewed-plan",)


@dataclass
class Team:
    """A repository on GitHub, and those who change it."""

    repo: Repo
    runner: Runner
    stand: Stand

    def propose(self, *arguments: str, code: int = 0) -> None:
        """Plan the work tree on a pull request to the newest commit of main."""
        runner = replace(self.runner, base=self.stand.tips["main"])
        ci(self.repo, runner.pull_request(), *arguments, code=code)

    def merge(self, head: str = "a" * 40) -> str:
        """Commit the work tree as the merge of that pull request."""
        commit = self.stand.tips["main"] = self.repo.commit()
        self.stand.merges[commit] = (7, head)
        return commit

    def apply(self, *arguments: str, code: int = 0) -> Result:
        return ci(self.repo, self.runner.push(), *arguments, code=code)

    def jobs(self) -> set[str]:
        return {name for name, job in self.repo.jobs().items() if job["job_id"]}


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    repo = Repo.make(tmp_path / "repo", server=None, RECONCILER_SERVER="local", OPENAI_API_KEY=KEY)
    with github() as stand:
        stand.tips["main"] = repo.commit()
        repo.spec("a")
        yield Team(repo, Runner(tmp_path / "runner", repo.root, stand.url), stand)


def test_what_was_reviewed_runs_and_may_be_run_again(team: Team) -> None:
    team.propose()
    team.merge()
    team.apply(*REQUIRED)
    assert team.jobs() == {"a"}
    team.apply(*REQUIRED)


def test_what_was_not_reviewed_is_refused_by_name(team: Team) -> None:
    team.repo.spec("b", seed=1)
    team.repo.spec("c", seed=2)
    team.propose()
    team.repo.spec("b", seed=3)
    team.repo.remove("c")
    team.repo.spec("d", seed=4)
    team.merge()
    said = team.apply(*REQUIRED, code=1).err
    assert "not what was reviewed on pull request #7" in said
    assert "b: create was reviewed for another revision or attempt" in said
    assert "c: create was reviewed, and is no longer to come" in said
    assert "d: create was not reviewed" in said
    assert "a:" not in said
    assert team.jobs() == set()
    assert "not what was reviewed" in team.runner.summary


def test_without_being_asked_for_no_review_is_needed(team: Team) -> None:
    team.merge()
    team.apply()
    assert not any("pulls" in path for _, path in team.stand.requests)


def test_the_server_belongs_to_what_was_reviewed(team: Team) -> None:
    team.propose()
    body = team.stand.comments[1]["body"]
    review = Review.read(body)
    assert review is not None
    team.stand.comments[1]["body"] = body.replace(review.line(), replace(review, server="https://other").line())
    team.merge()
    assert "the server was https://other, and is local now" in team.apply(*REQUIRED, code=1).err


def test_how_far_jobs_have_come_is_no_part_of_it(team: Team) -> None:
    """What waited for a slot is created once there is one, and what was created before is done."""
    settings = "owner: example.com/e2e\npolicy: {max_active: COUNT}\n"
    team.repo.spec("a", **LONG)
    team.repo.write("reconciler.yaml", settings.replace("COUNT", "1"))
    team.merge()
    team.apply()
    team.repo.spec("b", **LONG, seed=1)
    team.propose()
    assert "### Nothing to apply: 1 waits, 1 unchanged." in team.stand.bodies()[0]
    team.repo.write("reconciler.yaml", settings.replace("COUNT", "2"))
    team.merge()
    team.apply(*REQUIRED)
    assert team.jobs() == {"a", "b"}


def test_what_only_waits_is_held_to_the_review_too(team: Team) -> None:
    """It would be bought later in the same run, by --wait."""
    team.repo.spec("b", model={"job": "a"})
    team.merge()
    team.apply("--target", "a")
    assert "There is no plan of ours" in team.apply(*REQUIRED, "--target", "b", code=1).err


@pytest.mark.parametrize("author", ["mallory", "dependabot[bot]"])
def test_only_our_own_comment_says_what_was_reviewed(team: Team, author: str) -> None:
    team.propose()
    team.stand.comments[1]["user"]["login"] = author
    team.merge()
    assert "There is no plan of ours on pull request #7" in team.apply(*REQUIRED, code=1).err


def test_the_plan_has_to_be_of_what_was_merged(team: Team) -> None:
    team.propose()
    team.merge("b" * 40)
    assert "is of commit aaaaaaa; bbbbbbb was merged" in team.apply(*REQUIRED, code=1).err


def test_a_plan_without_a_server_reviews_nothing(team: Team) -> None:
    ci(team.repo, replace(team.runner, base=team.stand.tips["main"]).pull_request(source="mallory/models"))
    team.merge()
    assert "shows no plan that a server was asked for" in team.apply(*REQUIRED, code=1).err


def test_a_commit_of_no_pull_request_was_not_reviewed(team: Team) -> None:
    team.propose()
    team.stand.merges.pop(team.merge())
    assert "No pull request was merged as commit" in team.apply(*REQUIRED, code=1).err
    assert team.jobs() == set()


@pytest.mark.parametrize("path", ["/pulls", "/comments"])
def test_what_nobody_can_tell_was_not_reviewed(team: Team, path: str) -> None:
    team.propose()
    team.merge()
    team.stand.fault = lambda _, asked: 403 if asked.endswith(path) else None
    assert "GitHub answered 403" in team.apply(*REQUIRED, code=1).err
    assert team.jobs() == set()


def test_an_old_commit_is_refused_unless_that_is_meant(team: Team) -> None:
    team.merge()
    team.stand.tips["main"] = "e" * 40
    said = team.apply(code=1).err
    assert "is no longer the newest commit of main, which is eeeeeee" in said
    assert "--allow-stale" in said
    assert team.jobs() == set()
    team.apply("--allow-stale")
    assert team.jobs() == {"a"}


def test_where_the_api_is_silent_git_is_asked_for_the_newest_commit(team: Team, tmp_path: Path) -> None:
    team.merge()
    team.repo.git("clone", "-q", "--bare", str(team.repo.root), str(tmp_path / "origin"))
    team.repo.git("remote", "add", "origin", str(tmp_path / "origin"))
    team.stand.fault = lambda _, path: 403 if "/branches/" in path else None
    team.apply()
    assert team.jobs() == {"a"}


def test_where_nobody_says_which_commit_is_the_newest_nothing_is_bought(team: Team) -> None:
    team.merge()
    team.stand.fault = lambda _, path: 403 if "/branches/" in path else None
    assert "cannot be told: GitHub answered 403" in team.apply(code=1).err
    assert team.jobs() == set()
    team.apply("--allow-stale")
    assert team.jobs() == {"a"}


def test_a_merge_that_is_its_own_event_is_held_to_the_branch_it_went_to(team: Team) -> None:
    pull = {"number": 7, "merged": True, "head": {"sha": "a" * 40}, "base": {"ref": "main"}}
    team.propose()
    team.merge()
    env = team.runner.event("pull_request", {"pull_request": pull}, GITHUB_REF="refs/heads/main")
    tip, team.stand.tips["main"] = team.stand.tips["main"], "e" * 40
    assert "no longer the newest commit of main" in ci(team.repo, env, "--command", "apply", code=1).err
    team.stand.tips["main"] = tip
    ci(team.repo, env, "--command", "apply", *REQUIRED)
    assert team.jobs() == {"a"}


def test_a_tag_is_no_branch(team: Team) -> None:
    team.merge()
    env = team.runner.event("push", {"repository": {"default_branch": "main"}}, GITHUB_REF="refs/tags/v1")
    ci(team.repo, env, "--command", "apply")
    assert team.stand.requests == []


def test_a_branch_with_a_slash_is_asked_for_by_its_name(team: Team) -> None:
    team.stand.tips["release/1"] = team.merge()
    env = team.runner.event("push", {"repository": {"default_branch": "release/1"}}, GITHUB_REF="refs/heads/release/1")
    ci(team.repo, env)
    assert team.jobs() == {"a"}
    assert TOKEN not in team.runner.summary
