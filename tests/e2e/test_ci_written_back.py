"""Models written back to git: in the work tree, in a commit, in one pull request; and what GitHub may refuse."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from as_github import heard
from github import Runner, Stand
from pipeline import ci
from program import KEY, Repo
from ruamel.yaml import YAML

LOCK = ("--lock-file", "models.yaml")
COMMIT = (*LOCK, "--lock-commit", "commit")
PULL = (*LOCK, "--lock-commit", "pull-request")
HEAD = "reconciler/models-yaml"


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo.make(tmp_path / "repo", server=None, RECONCILER_SERVER="local", OPENAI_API_KEY=KEY)
    repo.spec("a")
    repo.commit()
    return repo


@pytest.fixture
def runner(tmp_path: Path, repo: Repo, stand: Stand) -> Runner:
    stand.tips["main"] = repo.git("rev-parse", "HEAD")
    return Runner(tmp_path / "runner", repo.root, stand.url, base=stand.tips["main"])


def model(text: str | None, name: str = "a") -> str:
    assert text is not None
    said: str = YAML(typ="safe").load(text)[name]["model"]
    return said


def train(repo: Repo, runner: Runner, name: str) -> None:
    """Let a spec be there, and its model."""
    repo.spec(name)
    ci(repo, runner.push(), "--wait")


def warned(out: str) -> list[str]:
    return [line for line in heard(out) if "models.yaml could not be brought up to date" in line]


def test_an_apply_leaves_the_models_in_the_work_tree(repo: Repo, runner: Runner, stand: Stand) -> None:
    ci(repo, runner.push(), "--wait", *LOCK)
    lock = repo.root / "models.yaml"
    first = lock.read_text(encoding="utf-8")
    assert runner.outputs()["lock-changed"] == "true"
    assert model(first) in runner.outputs()["outputs-json"]
    assert "models.yaml was written." in runner.summary
    digest = hashlib.sha256((repo.root / "specs/data/train.jsonl").read_bytes()).hexdigest()
    assert f'training_file: "sha256:{digest}"' in first
    before = lock.stat()
    ci(repo, runner.push(), *LOCK)
    assert runner.outputs()["lock-changed"] == "false"
    assert (lock.read_text(encoding="utf-8"), lock.stat().st_mtime_ns) == (first, before.st_mtime_ns)
    assert stand.asked("POST") == []


def test_a_model_that_came_later_is_found_by_the_look_for_drift(repo: Repo, runner: Runner) -> None:
    ci(repo, runner.push(), *LOCK)
    train(repo, runner, "a")
    ci(repo, runner.event("schedule", GITHUB_REF="refs/heads/main"), *LOCK)
    assert model((repo.root / "models.yaml").read_text(encoding="utf-8")).startswith("ft:")


def test_a_commit_starts_no_workflow_and_is_made_once(repo: Repo, runner: Runner, stand: Stand) -> None:
    ci(repo, runner.push(), "--wait", *COMMIT)
    assert stand.git.log("main")[0] == "models.yaml: models of the specs [skip ci]"
    assert model(stand.git.show("main", "models.yaml")).startswith("ft:")
    assert "models.yaml was brought up to date on main by commit" in runner.summary
    made = stand.tips["main"]
    ci(repo, runner.push(), *COMMIT)
    assert stand.tips["main"] == made
    assert runner.outputs()["lock-changed"] == "false"


def test_what_others_push_at_that_moment_stays(repo: Repo, runner: Runner, stand: Stand) -> None:
    train(repo, runner, "a")
    races = iter(["README.md", "other.yaml"])
    stand.git.meanwhile = lambda: (path := next(races, None)) and stand.git.push("main", path, "theirs")
    ci(repo, runner.push(), *COMMIT)
    assert [stand.git.show("main", path) for path in ("README.md", "other.yaml")] == ["theirs", "theirs"]
    assert model(stand.git.show("main", "models.yaml"))


def test_a_branch_that_never_stands_still_is_said_and_fails_nothing(repo: Repo, runner: Runner, stand: Stand) -> None:
    train(repo, runner, "a")
    stand.git.meanwhile = lambda: stand.git.push("main", "README.md", str(len(stand.git.commits)))
    done = ci(repo, runner.push(), *COMMIT)
    assert "not a fast forward" in warned(done.out)[0]
    assert stand.git.show("main", "models.yaml") is None


def test_a_commit_of_ours_makes_no_other_apply_stale(repo: Repo, runner: Runner, stand: Stand) -> None:
    """Staging writes its models; production, of the same commit, goes on."""
    train(repo, runner, "a")
    ci(repo, runner.push(), *COMMIT)
    ci(repo, runner.push(), "--lock-file", "models.production.yaml", "--lock-commit", "commit")
    assert stand.git.log("main")[:2] == [
        "models.production.yaml: models of the specs [skip ci]",
        "models.yaml: models of the specs [skip ci]",
    ]
    for path, message in (("specs/b.yaml", "models.yaml: models of the specs [skip ci]"), ("models.yaml", "by hand")):
        before = stand.tips["main"]
        stand.git.push("main", path, "changed", message)
        assert "no longer the newest" in ci(repo, runner.push(), *COMMIT, code=1).err
        stand.tips["main"] = before


def test_one_pull_request_is_kept_up_to_date(repo: Repo, runner: Runner, stand: Stand) -> None:
    train(repo, runner, "a")
    ci(repo, runner.push(), *PULL)
    [pull] = stand.git.pulls
    assert (pull["head"]["ref"], pull["base"]["ref"], pull["title"]) == (
        HEAD,
        "main",
        "models.yaml: models of the specs",
    )
    assert "https://github.example/acme/models/actions/runs/4242" in pull["body"]
    assert "Pull request 1 brings models.yaml up to date." in runner.summary
    assert stand.git.show("main", "models.yaml") is None
    first = stand.tips[HEAD]
    ci(repo, runner.push(), *PULL)
    assert stand.tips[HEAD] == first
    train(repo, runner, "b")
    ci(repo, runner.push(), *PULL)
    assert len(stand.git.pulls) == 1
    assert model(stand.git.show(HEAD, "models.yaml"), "b")
    assert stand.git.log(HEAD)[1:] == stand.git.log("main")
    assert "[skip ci]" not in stand.git.log(HEAD)[0]  # checks that a merge requires would never end


def test_a_pull_request_that_is_merged_or_no_longer_needed_is_over(repo: Repo, runner: Runner, stand: Stand) -> None:
    train(repo, runner, "a")
    ci(repo, runner.push(), *PULL)
    text = stand.git.show(HEAD, "models.yaml")
    assert text is not None
    stand.git.push("main", "models.yaml", text, "models.yaml: models of the specs [skip ci]")
    ci(repo, runner.push(), *PULL)
    assert stand.git.pulls[0]["state"] == "closed"
    assert runner.outputs()["lock-changed"] == "false"
    train(repo, runner, "b")
    ci(repo, runner.push(), *PULL)
    assert [pull["state"] for pull in stand.git.pulls] == ["closed", "open"]
    assert stand.git.log(HEAD)[1:] == stand.git.log("main")


def test_a_pull_request_is_made_anew_where_its_branch_changed_the_file(
    repo: Repo, runner: Runner, stand: Stand
) -> None:
    train(repo, runner, "a")
    ci(repo, runner.push(), *PULL)
    head = (repo.root / "models.yaml").read_text(encoding="utf-8").splitlines()[0]
    stand.git.push("main", "models.yaml", f"{head}\n{{}}\n", "models.yaml: models of the specs [skip ci]")
    ci(repo, runner.push(), *PULL)
    assert stand.git.log(HEAD)[1:] == stand.git.log("main")


@pytest.mark.parametrize("how", [COMMIT, PULL], ids=["commit", "pull-request"])
def test_nothing_that_github_refuses_fails_an_apply(
    repo: Repo, runner: Runner, stand: Stand, how: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.ci.github._PAUSES", (0.0, 0.0))
    train(repo, runner, "a")
    for status in (403, 404, 409, 422, 429, 500, 0):
        stand.fault = lambda method, _, status=status: status if method != "GET" else None  # type: ignore[misc]
        done = ci(repo, runner.push(), *how)
        assert len(warned(done.out)) == 1
        assert ("contents: write" in done.out) is (status in (403, 404))
        assert "models.yaml could not be brought up to date" in runner.summary
        assert model((repo.root / "models.yaml").read_text(encoding="utf-8"))
        assert runner.outputs()["lock-changed"] == ""


def test_a_file_that_is_none_of_ours_is_left_as_it_is(repo: Repo, runner: Runner, stand: Stand) -> None:
    train(repo, runner, "a")
    stand.git.push("main", "models.yaml", "theirs: 1\n", "models.yaml: models of the specs [skip ci]")
    how: tuple[str, ...]
    for how in (COMMIT, PULL):
        assert "is no lock file" in warned(ci(repo, runner.push(), *how).out)[0]
    (repo.root / "models.yaml").write_bytes(b"\xff\xfe")
    assert len(warned(ci(repo, runner.push(), *COMMIT).out)) == 1
    repo.write("models.yaml", "theirs: 1\n")
    for how in (LOCK, COMMIT, PULL):
        assert "is no lock file" in warned(ci(repo, runner.push(), *how).out)[0]
    assert (repo.root / "models.yaml").read_text(encoding="utf-8") == "theirs: 1\n"
    assert stand.asked("POST") == []


def test_a_plan_and_a_pull_request_write_nothing(repo: Repo, runner: Runner, stand: Stand) -> None:
    train(repo, runner, "a")
    ci(repo, runner.pull_request(), *COMMIT)
    ci(repo, runner.push("feature"), *COMMIT)
    assert not (repo.root / "models.yaml").exists()
    assert stand.git.commits == {}


def test_an_apply_that_failed_writes_nothing(repo: Repo, runner: Runner) -> None:
    repo.write("specs/a.yaml", "name: [")
    ci(repo, runner.push(), *COMMIT, code=1)
    assert not (repo.root / "models.yaml").exists()
    assert runner.outputs()["lock-changed"] == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--lock-commit", "commit"], "Add --lock-file"),
        (["--lock-file", "specs/models.yaml"], "among the specs"),
        (["--lock-file", "../models.yaml", "--lock-commit", "commit"], "outside of what was checked out"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_bought(
    repo: Repo, runner: Runner, arguments: list[str], said: str
) -> None:
    assert said in ci(repo, runner.push(), *arguments, code=64).err
    assert repo.jobs()["a"]["job_id"] is None


def test_a_workflow_that_commits_may_write(repo: Repo, runner: Runner) -> None:
    workflow = "on: push\npermissions: {contents: write}\njobs: {apply: {runs-on: x, steps: []}}\n"
    repo.write(".github/workflows/apply.yml", workflow)
    where = {"GITHUB_WORKFLOW_REF": "acme/models/.github/workflows/apply.yml@refs/heads/main", "GITHUB_JOB": "apply"}
    assert "more than it needs" not in ci(repo, {**runner.push(), **where}, *COMMIT).out
    assert "contents: write, more than it needs" in ci(repo, {**runner.push(), **where}, *LOCK).out
