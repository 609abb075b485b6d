"""Runs in a pipeline, against the embedded server and a stand-in for GitHub: what reviewers see, and what is kept."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from as_github import heard
from github import LONGEST, Runner, Stand
from pipeline import ci
from program import KEY, OWNER, Repo
from recording import recording

from reconciler.ci.comment import marker
from reconciler.server.trainers.simulated import SimulatedTrainer

WENT = re.compile(r"^\| <code>\w</code> \| succeeded \| \d\.\d+ to \d\.\d+ \|.*$", re.MULTILINE)
"""A row of how losses went."""


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo.make(tmp_path / "repo", server=None, RECONCILER_SERVER="local", OPENAI_API_KEY=KEY)
    repo.commit()
    repo.spec("a")
    return repo


@pytest.fixture
def runner(tmp_path: Path, repo: Repo, stand: Stand) -> Runner:
    stand.tips["main"] = repo.git("rev-parse", "HEAD")
    return Runner(tmp_path / "runner", repo.root, stand.url, base=stand.tips["main"])


def test_a_pull_request_gets_one_comment_that_is_changed_in_place(repo: Repo, runner: Runner, stand: Stand) -> None:
    stand.add("looks good", "octocat")
    ci(repo, runner.pull_request("a" * 40))
    repo.spec("b", model={"job": "a"})
    ci(repo, runner.pull_request("b" * 40))
    [body] = stand.bodies()
    assert body.startswith(marker(OWNER, None))
    assert "### Plan: 1 to create, 1 waits." in body
    assert "- <code>aaaaaaa</code> Plan: 1 to create." in body
    assert "commit <code>bbbbbbb</code>" in body
    assert "(https://github.example/acme/models/actions/runs/4242)" in body
    assert "```mermaid\ngraph LR" in body
    assert stand.asked("POST") == ["/repos/acme/models/issues/7/comments"]


def test_a_pull_request_buys_nothing_and_leaves_a_plan_that_apply_takes(repo: Repo, runner: Runner) -> None:
    ci(repo, runner.pull_request())
    values = runner.outputs()
    assert (values["command"], values["has-changes"], values["create"]) == ("plan", "true", "1")
    assert len(values["fingerprint"]) == 32
    assert json.loads(Path(values["plan-json"]).read_text(encoding="utf-8"))["fingerprint"] == values["fingerprint"]
    assert json.loads(values["outputs-json"]) == {"a": None}
    assert values["comment-id"] == "1"
    assert repo.run("status", "--format", "json").json["jobs"][0]["job_id"] is None
    repo.run("apply", values["plan-file"])
    assert repo.run("status", "--format", "json").json["jobs"][0]["job_id"] is not None


def test_a_push_to_the_default_branch_applies_and_tells_the_outcome(repo: Repo, runner: Runner, stand: Stand) -> None:
    ci(repo, runner.push(), "--wait")
    values = runner.outputs()
    assert values["command"] == "apply"
    assert json.loads(values["outputs-json"])["a"].startswith("ft:")
    assert "### Applied: 1 done" in runner.summary
    assert json.loads(values["outputs-json"])["a"].split(":")[-1] in runner.summary
    assert stand.requests == [("GET", "/repos/acme/models/branches/main")]


def test_an_apply_tells_how_the_losses_went_and_links_the_runs(
    repo: Repo, runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SimulatedTrainer, "tracks", True)
    repo.spec("a", wandb={"project": "sums", "entity": "acme"})
    repo.spec("b", wandb={"project": "sums"})
    with recording(tmp_path / "server") as server:
        ci(repo, runner.push(), "--wait", "--server", server.url)
        first, second = WENT.findall(runner.summary)
        ids = {job["metadata"]["reconciler.name"]: job["id"] for job in server.jobs()}
        assert first.endswith(f"[W&amp;B](https://wandb.ai/acme/sums/runs/{ids['a']}) |")
        assert second.endswith(f"W&amp;B <code>{ids['b']}</code> in <code>sums</code> |")  # nobody says whose project
        repo.spec("c", training_file="data/long.jsonl")
        ci(repo, runner.push(), "--wait", "--server", server.url)
    assert len(WENT.findall(runner.summary)) == 1  # only what this run has trained


def test_a_model_that_this_run_only_waited_for_is_told(repo: Repo, runner: Runner) -> None:
    repo.spec("a", model="simulated-slow")
    ci(repo, runner.push())
    ci(repo, runner.push(), "--wait", "--lock-file", "models.yaml")
    assert json.loads(runner.outputs()["outputs-json"])["a"].startswith("ft:")
    assert runner.outputs()["lock-changed"] == "true"
    assert WENT.search(runner.summary)


@pytest.mark.slow
def test_losses_that_a_server_does_not_tell_fail_no_apply(repo: Repo, runner: Runner, tmp_path: Path) -> None:
    with recording(tmp_path / "server") as server:
        server.recorder.fault = lambda _, path: "refuse" if path.endswith("/events") else None
        ci(repo, runner.push(), "--wait", "--server", server.url)
    assert "### Applied: 1 done" in runner.summary
    assert "How the losses went is not known" in runner.summary
    assert json.loads(runner.outputs()["outputs-json"])["a"].startswith("ft:")


def test_a_push_to_another_branch_plans(repo: Repo, runner: Runner, stand: Stand) -> None:
    ci(repo, runner.push("feature"))
    assert runner.outputs()["command"] == "plan"
    assert stand.requests == []


def test_a_schedule_looks_for_drift(repo: Repo, runner: Runner) -> None:
    repo.spec("a", model="simulated-slow", training_file="data/long.jsonl", hyperparameters={"n_epochs": 50})
    ci(repo, runner.push())
    repo.spec("a", model="simulated-slow", training_file="data/long.jsonl", hyperparameters={"n_epochs": 50},
              state="paused")  # fmt: skip
    done = ci(repo, runner.event("schedule"), code=3)
    assert runner.outputs()["drift"] == "1"
    assert "### Drift: 1 job differs" in runner.summary
    assert [line for line in heard(done.out) if line.startswith("::warning::drift: a")]
    ci(repo, runner.event("schedule"), "--no-fail-on-drift")


@pytest.mark.parametrize("asked", ["auto", "plan", "validate"])
def test_pull_request_target_is_refused_with_an_explanation(repo: Repo, runner: Runner, asked: str) -> None:
    done = ci(repo, runner.event("pull_request_target"), "--command", asked, code=64)
    assert "on: pull_request" in done.err


@pytest.mark.parametrize("event", ["pull_request", "pull_request_review"])
def test_a_pull_request_cannot_apply_until_it_is_merged(event: str, repo: Repo, runner: Runner) -> None:
    assert (
        "nobody has approved"
        in ci(repo, runner.pull_request(GITHUB_EVENT_NAME=event), "--command", "apply", code=64).err
    )
    merged = {"pull_request": {"number": 7, "merged": True}}
    ci(repo, runner.event("pull_request", merged), "--command", "apply")


def test_outside_of_github_a_command_must_be_named(repo: Repo) -> None:
    assert "--command validate" in repo.run("ci", code=64).err
    assert "1 to create" in repo.run("ci", "--command", "plan").out
    assert (repo.root / ".reconciler/ci/saved.plan").is_file()


def test_faults_in_specs_are_annotated_at_their_lines_and_the_rest_counted(
    repo: Repo, runner: Runner, stand: Stand
) -> None:
    for i in range(14):
        repo.write(f"specs/bad-{i:02},x.yaml", f"name: bad-{i}\nmodle: m\ntraining_file: data/train.jsonl\n")
    done = ci(repo, runner.pull_request(), "--command", "validate", code=1)
    errors = [line for line in heard(done.out) if line.startswith("::error")]
    assert len(errors) == 10
    assert errors[0].startswith("::error file=specs/bad-00%2Cx.yaml,line=")
    assert "more errors" in errors[-1]
    [body] = stand.bodies()
    assert "problems in the specs" in body
    assert "<code>specs/bad-13,x.yaml&#58;2:1</code>" in body
    assert body.startswith(marker(OWNER, None))


def test_on_change_deletes_the_comment_when_there_is_nothing_to_say(repo: Repo, runner: Runner, stand: Stand) -> None:
    ci(repo, runner.pull_request(), "--comment", "on-change")
    assert len(stand.comments) == 1
    repo.run("apply", "--auto-approve", "--wait")
    ci(repo, runner.pull_request(), "--comment", "on-change")
    assert stand.comments == {}
    ci(repo, runner.pull_request())
    assert stand.comments == {}
    ci(repo, runner.pull_request(), "--comment", "always")
    assert "No changes." in stand.bodies()[0]
    ci(repo, runner.pull_request(), "--comment", "never")
    assert len(stand.comments) == 1


def test_our_comment_is_found_behind_hundreds_and_nobody_elses_is_touched(
    repo: Repo, runner: Runner, stand: Stand
) -> None:
    mark = marker(OWNER, None)
    for i in range(150):
        stand.add(f"{mark}\nforged {i}", "mallory")
    for i in range(200):
        stand.add(f"chat {i}\n{mark}")
    first = stand.add(f"{mark}\nours")
    second = stand.add(f"{mark}\na second one, from a race")
    ci(repo, runner.pull_request())
    assert "1 to create" in stand.comments[first]["body"]
    assert second not in stand.comments
    assert len(stand.bodies("mallory")) == 150
    assert runner.outputs()["comment-id"] == str(first)


def test_a_token_of_a_user_finds_that_users_comment(repo: Repo, runner: Runner, stand: Stand) -> None:
    stand.login = "release-robot"
    ci(repo, runner.pull_request())
    ci(repo, runner.pull_request("b" * 40))
    assert len(stand.bodies("release-robot")) == 1


@pytest.mark.parametrize("status", [403, 404, 422, 429, 500, 0])
def test_nothing_that_github_refuses_fails_a_run(repo: Repo, runner: Runner, stand: Stand, status: int) -> None:
    stand.fault = lambda method, _: status if method != "GET" or status not in (403, 422) else None
    stand.headers = {"x-ratelimit-remaining": "0"} if status == 429 else {}
    done = ci(repo, runner.pull_request())
    [warning] = [line for line in heard(done.out) if "No comment could be kept up to date" in line]
    assert "### Plan: 1 to create." in runner.summary
    assert "No comment could be kept up to date" in runner.summary
    assert "@everyone" not in runner.summary
    assert ("rate limit" in warning) is (status == 429)
    assert runner.outputs()["comment-id"] == ""


@pytest.mark.parametrize(
    "env", [{"SSL_CERT_FILE": "/none"}, {"HTTP_PROXY": "x://y"}, {"GITHUB_API_URL": "https://a..b"}], ids=str
)
def test_surroundings_in_which_nobody_can_be_asked_fail_no_run(env: dict[str, str], repo: Repo, runner: Runner) -> None:
    ci(repo, runner.pull_request(**{"GITHUB_API_URL": "https://127.0.0.1:9", **env}))
    assert "No comment could be kept up to date" in runner.summary


def test_a_rate_limit_that_only_words_tell_is_no_lack_of_permissions(repo: Repo, runner: Runner, stand: Stand) -> None:
    stand.fault = lambda method, _: 403 if method == "POST" else None
    stand.words = "You have exceeded a secondary rate limit."
    ci(repo, runner.pull_request())
    assert "rate limit is reached" in runner.summary
    assert "permissions" not in runner.summary


def test_a_fault_that_passes_is_no_fault(repo: Repo, runner: Runner, stand: Stand) -> None:
    mark = marker(OWNER, None)
    stand.add(f"{mark}\nours")
    seen: set[tuple[str, str]] = set()

    def once(method: str, path: str) -> int | None:
        fresh = (method, path) not in seen
        seen.add((method, path))
        return 502 if fresh else None

    stand.fault = once
    ci(repo, runner.pull_request())
    assert "1 to create" in stand.bodies()[0]


def test_a_missing_token_is_said_and_fails_nothing(repo: Repo, runner: Runner) -> None:
    done = ci(repo, {**runner.pull_request(), "GITHUB_TOKEN": ""})
    assert any("GITHUB_TOKEN is not set" in line for line in heard(done.out))


def test_three_hundred_changes_fit_and_the_rest_is_counted(repo: Repo, runner: Runner, stand: Stand) -> None:
    repo.spec("many", matrix={"seed": list(range(300))}, suffix="s" * 40)
    ci(repo, runner.pull_request())
    [body] = stand.bodies()
    assert len(body) <= LONGEST
    assert "### Plan: 301 to create." in body
    assert runner.summary.count("| <code>+</code> |") == 301


def test_no_text_from_outside_is_a_command_to_the_runner(repo: Repo, runner: Runner) -> None:
    env = {**runner.pull_request(), "RECONCILER_SERVER": "x\n::add-mask::plan\n##[error]forged"}
    done = ci(repo, env, code=64)
    [line] = heard(done.out)
    assert line.startswith("::error::RECONCILER_SERVER names the server 'x")
    assert runner.summary.startswith("### The run failed")


def test_blocked_specs_fail_the_run_only_where_asked(repo: Repo, runner: Runner) -> None:
    repo.spec("a", model="simulated-fail")
    ci(repo, runner.push(), "--wait", code=1)
    done = ci(repo, runner.pull_request())
    assert any("a is blocked" in line and "file=specs/a.yaml,line=1" in line for line in heard(done.out))
    ci(repo, runner.pull_request(), "--fail-on-blocked", code=1)


def test_every_setting_can_be_a_variable(repo: Repo, runner: Runner, stand: Stand) -> None:
    repo.spec("b", file="more/b", training_file="../data/train.jsonl")
    env = {
        "RECONCILER_CI_COMMAND": "plan",
        "RECONCILER_CI_PATHS": "specs/a.yaml specs/more",
        "RECONCILER_CI_COMMENT": "never",
        "RECONCILER_CI_OUT_DIR": "out here",
        "RECONCILER_CI_WAIT": "false",
        "RECONCILER_CI_FAIL_ON_BLOCKED": "true",
        "RECONCILER_CI_FAIL_ON_DRIFT": "",
    }
    ci(repo, {**runner.push(), **env})
    assert stand.requests == []
    assert runner.outputs()["create"] == "2"
    assert runner.outputs()["plan-file"] == str(Path("out here/saved.plan"))


def test_what_jobs_will_cost_is_told_wherever_a_plan_is(repo: Repo, runner: Runner, stand: Stand) -> None:
    repo.write("reconciler.yaml", f"owner: {OWNER}\npolicy: {{prices: {{'gpt-4.1-nano-*': 10000}}}}\n")
    priced = replace(runner, base=repo.commit())
    repo.spec("b", model="simulated-slow")
    done = ci(repo, priced.pull_request())
    cost = runner.outputs()["cost-estimate"]
    amount, currency = cost.split()
    assert (currency, float(amount) > 0) == ("USD", True)
    conclusion = f"Plan: 2 to create. Estimated cost: {cost}, and 1 job without a price."
    assert conclusion in done.out
    assert f"### {conclusion}" in runner.summary
    assert f"### {conclusion}" in stand.bodies()[0]
    [a, b] = json.loads(Path(runner.outputs()["plan-json"]).read_text(encoding="utf-8"))["changes"]
    assert a["cost"]["amount"] == a["cost"]["tokens"] * 10_000 / 1_000_000
    assert b["cost"] is None
    repo.spec("a", seed=2)
    ci(repo, priced.pull_request(source="mallory/models"))
    assert conclusion.replace("Plan", "Against the base branch") in runner.summary
    assert runner.outputs()["cost-estimate"] == cost


def test_a_token_that_may_do_too_much_is_warned_of(repo: Repo, runner: Runner) -> None:
    repo.write(".github/workflows/ft.yml", "jobs: {reconcile: {runs-on: x, permissions: write-all}}\n")
    ref = "acme/models/.github/workflows/ft.yml@refs/heads/main"
    done = ci(repo, runner.pull_request(GITHUB_WORKFLOW_REF=ref, GITHUB_JOB="reconcile"))
    assert any("::warning::The workflow's token has write-all" in line for line in heard(done.out))
    assert "token has write-all" in runner.summary
