"""Whose jobs count: adopted ones, those of an owner that is taken over, and those that cannot be read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from museum import OWNER, THEIRS, Cli, Document, job, owned

TAKE = ("--take-over", THEIRS)


@pytest.fixture
def revision(cli: Cli) -> str:
    """Write a spec that no job counts for, and return its revision."""
    spec(cli)
    return str(cli.json("plan")["changes"][0]["revision"])


def spec(cli: Cli, name: str = "triage", **fields: Any) -> None:
    body = {"name": name, "model": "gpt-4.1-mini", "training_file": "file-train", **fields}
    (cli.root / "specs").mkdir(exist_ok=True)
    (cli.root / f"specs/{name}.yaml").write_text(json.dumps(body))


# Taking over


def test_without_the_flag_another_owners_jobs_do_not_count(cli: Cli, revision: str) -> None:
    cli.museum.jobs = [owned(revision=revision)]
    assert cli.plan() == {"triage": "create"}


@pytest.mark.parametrize(
    ("status", "state", "action"),
    [
        ("succeeded", "running", "none"),
        ("running", "running", "none"),
        ("failed", "running", "blocked"),
        ("paused", "running", "resume"),
        ("running", "paused", "pause"),
        ("running", "cancelled", "cancel"),
        ("cancelled", "running", "create"),
    ],
)
def test_a_job_of_the_same_revision_counts_like_ours(
    cli: Cli, revision: str, status: str, state: str, action: str
) -> None:
    spec(cli, state=state)
    cli.museum.jobs = [owned(revision=revision, status=status)]
    assert cli.plan(*TAKE) == {"triage": action}


def test_the_flag_may_name_several_owners_and_even_our_own(cli: Cli, revision: str) -> None:
    cli.museum.jobs = [owned(revision=revision)]
    assert cli.plan("--take-over", "nobody", *TAKE, "--take-over", OWNER) == {"triage": "none"}


@pytest.mark.parametrize(
    "other",
    [owned(name="other", status="running"), owned(status="running"), owned(status="paused")],
    ids=["of another name", "of another revision", "paused"],
)
def test_nothing_else_of_another_owner_is_touched(cli: Cli, revision: str, other: Document) -> None:
    cli.museum.jobs = [other]
    plan = cli.json("plan", *TAKE, "--recreate", "triage", "--allow-empty")
    assert [(c["action"], c["job_id"]) for c in plan["changes"]] == [("create", None)]
    assert plan["changes"][0]["revision"] == revision


def test_our_own_job_counts_before_another_owners_and_that_one_goes_on(cli: Cli, revision: str) -> None:
    cli.museum.jobs = [owned(1, revision=revision, status="running"), owned(2, OWNER, revision=revision)]
    changes = cli.json("plan", *TAKE)["changes"]
    assert [(c["action"], c["job_id"]) for c in changes] == [("none", "ftjob-0002AbC")]


def test_of_two_jobs_of_another_owner_the_one_of_the_same_name_counts(cli: Cli, revision: str) -> None:
    cli.museum.jobs = [owned(1, name="other", revision=revision), owned(2, revision=revision)]
    assert cli.json("plan", *TAKE)["changes"][0]["job_id"] == "ftjob-0002AbC"
    spec(cli, "zeta")
    found = {c["name"]: c["job_id"] for c in cli.json("plan", *TAKE)["changes"]}
    assert found == {"triage": "ftjob-0002AbC", "zeta": "ftjob-0001AbC"}


def test_a_chain_goes_on_from_a_model_that_is_taken_over(cli: Cli, revision: str) -> None:
    spec(cli, "next", model={"job": "triage"})
    cli.museum.jobs = [owned(revision=revision)]
    plan = cli.json("plan", *TAKE)
    create = next(c for c in plan["changes"] if c["name"] == "next")
    assert (create["action"], plan["summary"]["create"]) == ("create", 1)


def test_import_says_how_to_take_a_job_over_for_good(cli: Cli, revision: str) -> None:
    cli.museum.jobs = [owned(revision=revision)]
    known = cli.json("import", *TAKE)["known"]
    assert known[0]["reason"].endswith(f"add to it: adopt: {{job: ftjob-0001AbC, revision: {revision}}}")
    spec(cli, adopt={"job": "ftjob-0001AbC", "revision": revision})
    assert cli.plan() == {"triage": "none"}


def test_a_saved_plan_remembers_what_it_takes_over(cli: Cli, revision: str) -> None:
    cli.museum.jobs = [owned(revision=revision)]
    cli.text("plan", *TAKE, "--out", "plan.json")
    assert json.loads((cli.root / "plan.json").read_text())["options"]["take_over"] == [THEIRS]
    assert [c["action"] for c in cli.json("apply", "plan.json")["changes"]] == ["none"]


# Adopting another owner's job


@pytest.mark.parametrize("status", ["running", "paused", "hibernating"])
def test_an_active_job_of_another_owner_is_adopted_with_the_flag_only(cli: Cli, revision: str, status: str) -> None:
    spec(cli, state="cancelled", adopt={"job": "ftjob-0001AbC", "revision": revision})
    cli.museum.jobs = [owned(name="theirs", status=status)]
    assert cli.plan() == {"triage": "none"}  # and nothing is cancelled
    spec(cli, adopt={"job": "ftjob-0001AbC", "revision": revision})
    assert cli.plan() == {"triage": "blocked"}
    assert f"which is {status} and belongs to {THEIRS}" in cli.reason("triage")
    assert f"--take-over {THEIRS}" in cli.reason("triage")
    assert cli.plan(*TAKE)["triage"] in {"none", "resume"}


@pytest.mark.parametrize("status", ["succeeded", "cancelled"])
def test_an_ended_job_of_another_owner_may_be_adopted(cli: Cli, revision: str, status: str) -> None:
    spec(cli, state="cancelled", adopt={"job": "ftjob-0001AbC", "revision": revision})
    cli.museum.jobs = [owned(name="theirs", status=status)]
    assert cli.json("plan")["changes"][0]["job_id"] == "ftjob-0001AbC"


def test_a_job_that_is_not_there_is_never_bought_anew(cli: Cli, revision: str) -> None:
    spec(cli, adopt={"job": "ftjob-gone", "revision": revision})
    assert cli.plan() == {"triage": "blocked"}
    assert "adopts ftjob-gone, which is not here" in cli.reason("triage")


def test_a_job_that_two_specs_adopt_counts_for_one(cli: Cli, revision: str) -> None:
    for name in ("triage", "again"):
        spec(cli, name, adopt={"job": "ftjob-0001AbC", "revision": revision})
    cli.museum.jobs = [job()]
    assert cli.plan() == {"again": "none", "triage": "blocked"}
    assert "counts for another spec" in cli.reason("triage")


@pytest.mark.parametrize(("replace", "actions"), [("cancel", ["create", "cancel"]), ("wait", ["wait"])])
def test_an_adopted_job_is_replaced_like_any_other_once_its_spec_changes(
    cli: Cli, revision: str, replace: str, actions: list[str]
) -> None:
    adopt = {"job": "ftjob-0001AbC", "revision": revision}
    spec(cli, seed=43, replace=replace, hyperparameters={"n_epochs": 9}, adopt=adopt)
    cli.museum.jobs = [job(status="running")]
    changes = cli.json("plan")["changes"]
    assert [c["action"] for c in changes] == actions
    diff = {d["field"]: (d["old"], d["new"]) for d in changes[0]["diff"]}
    assert diff["hyperparameters.n_epochs"] == ("3", "9")


def test_a_protected_spec_keeps_its_adopted_job(cli: Cli, revision: str) -> None:
    spec(cli, seed=43, protect=True, adopt={"job": "ftjob-0001AbC", "revision": revision})
    cli.museum.jobs = [job(status="running")]
    assert cli.plan() == {"triage": "blocked"}


def test_a_job_whose_adopting_spec_is_gone_is_nobodys_and_left_alone(cli: Cli) -> None:
    cli.museum.jobs = [job(status="running")]
    cli.json("import", "--unowned")
    (cli.root / "specs/triage.yaml").unlink()
    assert cli.plan("--allow-empty") == {}


# What cannot be read


@pytest.fixture
def malformed(cli: Cli) -> str:
    cli.museum.jobs = [owned(owner=OWNER, revision="?", status="running")]
    spec(cli)
    return "ftjob-0001AbC"


def test_a_plan_reports_it_and_leaves_it_alone(cli: Cli, malformed: str) -> None:
    plan = cli.json("plan")
    assert [c["job_id"] for c in plan["changes"]] == [None]
    assert plan["warnings"][0].startswith(
        f"{malformed} claims our owner and is left alone: reconciler.revision is '?.1'"
    )
    assert f"{malformed} claims our owner" in cli.text("plan")


def test_it_is_left_alone_where_a_spec_adopts_it_too(cli: Cli, malformed: str) -> None:
    revision = cli.json("plan")["changes"][0]["revision"]
    for state, action in {"running": "blocked", "paused": "hold", "cancelled": "none"}.items():
        spec(cli, state=state, adopt={"job": malformed, "revision": revision})
        assert cli.plan(*TAKE, "--take-over", OWNER) == {"triage": action}
    spec(cli, adopt={"job": malformed, "revision": revision})
    assert "which claims our owner, but cannot be read" in cli.reason("triage")


def test_drift_reports_it(cli: Cli, malformed: str) -> None:
    drift = cli.json("drift", code=3)["drift"]
    assert [(each["job_id"], each["name"]) for each in drift] == [(malformed, None)]


def test_status_reports_it(cli: Cli, malformed: str) -> None:
    assert [row["job_id"] for row in cli.json("status")["jobs"]] == [None]
    assert f"warning: {malformed} claims our owner and is left alone" in cli.err


def test_what_another_owner_wrote_badly_is_no_concern_of_ours(cli: Cli) -> None:
    spec(cli)
    cli.museum.jobs = [owned(revision="?")]
    assert cli.json("plan", *TAKE)["warnings"] == []
    assert cli.json("drift")["count"] == 0
