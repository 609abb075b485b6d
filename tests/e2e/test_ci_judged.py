"""A pull request is judged by its base: it lifts no limit of its own, and sends no key to a server that it names."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from as_github import heard
from github import REPOSITORY, Runner, Stand
from pipeline import ci
from program import KEY, LONG, OWNER, Repo, chat

from reconciler.plan.model import Action

FORK = "mallory/models"
SETTINGS = f"owner: {OWNER}\nserver: local\n"
KEYED = f"owner: {OWNER}\nserver: {{base_url: 'http://127.0.0.1:9', key_env: KEY}}\n"


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """Return a repository whose base has settings and one spec."""
    repo = Repo.make(tmp_path / "repo", server=None, settings="server: local\n", OPENAI_API_KEY=KEY)
    repo.spec("a")
    repo.commit()
    return repo


@pytest.fixture
def runner(tmp_path: Path, repo: Repo, stand: Stand) -> Runner:
    return Runner(tmp_path / "runner", repo.root, stand.url, base=repo.git("rev-parse", "HEAD"))


def evil(stand: Stand) -> str:
    """Return settings that send the key elsewhere."""
    return f"owner: {OWNER}\nserver: {{base_url: '{stand.url}/v1', key_env: OPENAI_API_KEY}}\n"


def stolen(stand: Stand) -> list[str]:
    return [path for _, path in stand.requests if path.startswith("/v1")]


def base(repo: Repo, runner: Runner, settings: str | None) -> Runner:
    """Commit other settings (None: no file), and return a runner that has them as its base."""
    if settings is None:
        (repo.root / "reconciler.yaml").unlink()
    else:
        repo.write("reconciler.yaml", settings)
    return replace(runner, base=repo.commit())


def offline(repo: Repo, runner: Runner, why: str, *arguments: str) -> str:
    """Run on a pull request of which no server may be asked, and return the summary."""
    ci(repo, runner.pull_request(), *arguments)
    assert "No server was asked for this pull request" in runner.summary
    assert why in runner.summary
    assert runner.outputs()["offline"] == "true"
    return runner.summary


def test_a_pull_request_cannot_lift_its_own_limits(repo: Repo, runner: Runner, stand: Stand) -> None:
    runner = base(repo, runner, f"{SETTINGS}policy: {{budget: {{creates: 0}}}}\n")
    repo.write("reconciler.yaml", f"{SETTINGS}policy: {{budget: {{creates: 10}}, max_prune: 3}}\n")
    done = ci(repo, runner.pull_request(), code=1)
    assert any(line.startswith("::warning file=reconciler.yaml::reconciler.yaml changes") for line in heard(done.out))
    assert any("policy budget.creates allows 0" in line for line in heard(done.out))
    for said in (runner.summary, stand.bodies()[0]):
        assert "this pull request is judged by the base branch's" in said
        assert "| <code>policy.budget.creates</code> | <code>0</code> | <code>10</code> |" in said
        assert "| <code>policy.max&#95;prune</code> | <code>(unset)</code> | <code>3</code> |" in said


def test_settings_that_did_not_change_are_no_news(repo: Repo, runner: Runner, stand: Stand) -> None:
    ci(repo, runner.pull_request())
    assert "judged by" not in stand.bodies()[0]
    assert runner.outputs()["offline"] == "false"


@pytest.mark.parametrize("event", ["pull_request", "pull_request_review", "pull_request_review_comment"])
def test_a_pull_request_does_not_choose_who_gets_the_key(event: str, repo: Repo, runner: Runner, stand: Stand) -> None:
    repo.write("reconciler.yaml", evil(stand))
    ci(repo, runner.pull_request(GITHUB_EVENT_NAME=event))
    assert stolen(stand) == []
    assert runner.outputs()["create"] == "1"
    assert "on <code>local</code>" in stand.bodies()[0]


def test_without_settings_in_the_base_no_server_is_asked(repo: Repo, runner: Runner, stand: Stand) -> None:
    runner = base(repo, runner, None)
    repo.write("reconciler.yaml", evil(stand))
    offline(repo, runner, "the base branch has no reconciler.yaml yet")
    assert stolen(stand) == []
    ci(repo, runner.pull_request(), "--command", "drift", code=64)
    assert stolen(stand) == []


def test_settings_put_elsewhere_take_the_place_of_none(repo: Repo, runner: Runner, stand: Stand) -> None:
    repo.write("specs/reconciler.yaml", evil(stand))
    offline(repo, runner, "it puts reconciler.yaml elsewhere")
    assert stolen(stand) == []


def test_settings_that_are_deleted_hold_all_the_same(repo: Repo, runner: Runner) -> None:
    runner = base(repo, runner, f"{SETTINGS}policy: {{allowed_models: [other]}}\n")
    (repo.root / "reconciler.yaml").unlink()
    assert "is not allowed here" in ci(repo, runner.pull_request(), code=1).err


def test_an_environment_that_the_base_does_not_know_is_planned_without_a_server(repo: Repo, runner: Runner) -> None:
    repo.write("reconciler.yaml", f"{SETTINGS}environments: {{staging: {{}}}}\n")
    offline(repo, runner, "does not know the environment 'staging' yet", "--environment", "staging")


def test_faults_in_the_bases_settings_can_be_mended(repo: Repo, runner: Runner) -> None:
    runner = base(repo, runner, "owner: [\n")
    repo.write("reconciler.yaml", SETTINGS)
    offline(repo, runner, "the base branch's reconciler.yaml has faults")


def test_faults_in_its_own_settings_are_told_at_their_place(repo: Repo, runner: Runner, stand: Stand) -> None:
    ci(repo, runner.pull_request())
    repo.write("reconciler.yaml", f"{SETTINGS}polcy: {{}}\n")
    errors = heard(ci(repo, runner.pull_request(), "--command", "validate", code=1).out)
    assert any(line.startswith("::error file=reconciler.yaml,line=3") for line in errors)
    assert "### 1 problem in the specs" in stand.bodies()[0]


@pytest.mark.parametrize("name", [".reconciler", ".Reconciler"])  # the same, where case does not count
def test_a_cache_that_comes_with_a_pull_request_is_refused(name: str, repo: Repo, runner: Runner) -> None:
    repo.write(f"{name}/cache.db", "x")
    repo.git("add", "-f", f"{name}/cache.db")
    repo.git("commit", "-qm", "cache")
    assert f"git rm -r --cached {name}" in ci(repo, runner.pull_request(), code=64).err


def test_a_base_that_is_not_here_is_an_error_that_says_what_to_do(repo: Repo, runner: Runner) -> None:
    said = ci(repo, replace(runner, base="d" * 40).pull_request(), code=1).err
    assert "The base of this pull request cannot be read" in said
    assert "fetch-depth: 2" in said


def test_the_base_is_the_parent_of_the_merge_and_is_fetched(repo: Repo, runner: Runner, tmp_path: Path) -> None:
    """The event may name an older commit of the base branch, and a usual checkout has neither."""
    old = repo.git("rev-parse", "HEAD")
    repo.git("checkout", "-qb", "topic")
    repo.spec("b")
    head = repo.commit()
    repo.git("checkout", "-q", "main")
    repo.spec("c", seed=1)
    repo.commit()
    repo.git("merge", "-q", "--no-ff", "-m", "merge", "topic")
    merge = repo.git("rev-parse", "HEAD")
    repo.git("config", "uploadpack.allowAnySHA1InWant", "true")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{repo.root}", str(clone)], check=True)
    ci(
        replace(repo, root=clone),
        replace(runner, base=old, workspace=clone).pull_request(head, source=FORK, GITHUB_SHA=merge),
    )
    assert runner.outputs()["create"] == "1"
    assert "<code>b</code> | create" in runner.summary


def test_a_fork_gets_everything_that_needs_no_key(repo: Repo, runner: Runner, stand: Stand) -> None:
    for name in ("gone", "moved", "rows", "words", "calm"):
        repo.spec(name, seed=len(name), training_file=f"data/{name}.jsonl")
        repo.rows(f"{name}.jsonl", chat())
    runner = replace(runner, base=repo.commit())
    for name in ("gone", "moved"):
        repo.remove(name)
    repo.spec("new")
    repo.spec("here", seed=5, training_file="data/moved.jsonl")
    repo.rows("rows.jsonl", [*chat(14)[3:]])
    repo.spec("words", seed=5, training_file="data/words.jsonl", metadata={"team": "x"})
    repo.spec("calm", seed=4, training_file="data/calm.jsonl", state="paused")
    stand.fault = lambda method, _: 403 if method != "GET" else None
    done = ci(repo, runner.pull_request(source=FORK))
    assert "### Against the base branch: 2 to create, 1 to pause, 1 to cancel, 3 unchanged." in runner.summary
    assert "it comes from a fork, which gets no key" in runner.summary
    assert "No comment could be kept up to date" in runner.summary
    for row in ("new</code> | create", "rows</code> | create", "gone</code> | cancel", "calm</code> | pause",
                "words</code> | none"):  # fmt: skip
        assert f"| <code>{row}" in runner.summary
    assert "(11 rows, " in runner.summary
    assert ": 2 added, 3 removed" in runner.summary
    assert "+ metadata.team: x" in runner.summary
    values = runner.outputs()
    assert (values["has-changes"], values["create"], values["cancel"], values["none"]) == ("true", "2", "1", "3")
    assert (values["fingerprint"], values["plan-file"], values["plan-json"]) == ("", "", "")
    assert not (repo.root / ".reconciler/server.db").exists()
    assert "against the base branch; no server was asked" in done.out


def test_what_a_fork_is_told_is_what_a_server_would_say(repo: Repo, runner: Runner) -> None:
    """Where every revision of the base is as its specs want it, both ways to plan come to the same."""
    for name in ("same", "stops", "gone", "label"):
        repo.spec(name, **LONG, seed=len(name), suffix=name)
    runner = replace(runner, base=repo.commit())
    repo.run("apply", "--auto-approve")
    repo.run("apply", "--auto-approve", "--wait", "--target", "a")
    repo.spec("a", seed=9)
    repo.spec("new", seed=8)
    repo.spec("stops", **LONG, seed=5, suffix="stops", state="cancelled")
    repo.spec("label", **LONG, seed=5, suffix="label", metadata={"team": "x"})
    repo.remove("gone")
    told = []
    for source in (FORK, REPOSITORY):
        ci(repo, runner.pull_request(source=source), "--max-prune", "5")
        told.append({action.value: runner.outputs()[action.value] for action in Action})
    assert told[0] == told[1]
    assert (told[0]["create"], told[0]["cancel"], told[0]["none"]) == ("2", "2", "2")


def test_a_checkout_may_belong_to_another_user(repo: Repo, runner: Runner) -> None:
    """As it does where a job runs in a container."""
    ci(repo, runner.pull_request(source=FORK, GIT_TEST_ASSUME_DIFFERENT_OWNER="1"))
    assert runner.outputs()["none"] == "1"


def test_a_fork_that_is_gone_is_a_fork(repo: Repo, runner: Runner) -> None:
    env = runner.pull_request()
    event = Path(env["GITHUB_EVENT_PATH"])
    payload = json.loads(event.read_text(encoding="utf-8"))
    payload["pull_request"]["head"]["repo"] = None
    event.write_text(json.dumps(payload), encoding="utf-8")
    ci(repo, env)
    assert runner.outputs()["offline"] == "true"


def test_a_forks_faults_fail_it(repo: Repo, runner: Runner) -> None:
    repo.spec("b", training_file="data/missing.jsonl")
    assert "does not exist" in ci(repo, runner.pull_request(source=FORK), code=1).err


def test_a_fork_is_told_of_the_budget(repo: Repo, runner: Runner) -> None:
    runner = base(repo, runner, f"{SETTINGS}policy: {{budget: {{creates: 0}}}}\n")
    repo.spec("b")
    ci(repo, runner.pull_request(source=FORK))
    assert "budget.creates allows 0" in runner.summary


@pytest.mark.parametrize("settings", [f"owner: {OWNER}\n", KEYED])
def test_without_a_key_everything_is_done_that_needs_none(repo: Repo, runner: Runner, settings: str) -> None:
    runner = base(repo, runner, settings)
    repo.spec("b")
    offline(replace(repo, env={}), runner, "is not set" if "KEY" in settings else "no key is set")
    assert "### Against the base branch: 1 to create, 1 unchanged." in runner.summary


@pytest.mark.parametrize("branch", [True, False])
def test_any_other_pipeline_names_the_base(repo: Repo, runner: Runner, stand: Stand, branch: bool) -> None:
    runner = base(repo, runner, f"{SETTINGS}policy: {{budget: {{creates: 0}}}}\n")
    plan = ("ci", "--command", "plan", "--base", "main" if branch else runner.base)
    repo.git("checkout", "-qb", "topic")
    repo.write("reconciler.yaml", evil(stand))
    repo.spec("b")
    repo.commit()
    said = repo.run(*plan, code=1).err
    assert "budget.creates allows 0" in said
    assert "reconciler.yaml changes here" in said
    assert stolen(stand) == []
    unkeyed = replace(repo, env={"RECONCILER_SERVER": "https://api.openai.com/v1"}).run(*plan)
    assert "No server is asked: OpenAI's server needs a key" in unkeyed.err
    assert "Against the base branch: 1 to create, 1 unchanged." in unkeyed.out


def test_a_base_is_for_what_is_not_merged_and_no_option_to_git(repo: Repo) -> None:
    assert "--base is for what is not merged" in repo.run("ci", "--command", "apply", "--base", "main", code=64).err
    assert "cannot be read" in repo.run("ci", "--command", "plan", "--base", "--help", code=1).err


def test_a_missing_key_fails_what_is_merged(repo: Repo, runner: Runner, stand: Stand) -> None:
    stand.tips["main"] = base(repo, runner, f"owner: {OWNER}\n").base
    ci(replace(repo, env={}), runner.push(), code=64)
