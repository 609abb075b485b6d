"""Saved plans: written down byte for byte, and refused once they no longer hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from plan_support import DATA, NOW, POLICY, A, B, C, job, plan, spec

from reconciler.errors import StalePlan
from reconciler.observe.state import Observed, ObservedJob
from reconciler.plan.planner import Options, make_plan
from reconciler.plan.saved import check, digest, load, save
from reconciler.spec.desired import Desired, Source, Upstream
from reconciler.spec.policy import MaxPrune, Policy

OPTIONS = Options(("t*",), ("x",), frozenset({"b", "a"}), MaxPrune(count=3, share=1), empty=False, allow_empty=True)
SPECS = [spec(validation_file="file-1", seed=3), spec("tail", C, model=Upstream("triage", "best"))]
JOBS = [job("ftjob-old", "running", revision=B, model="größer")]


def saved_text(specs: list[Desired] = SPECS, jobs: list[ObservedJob] = JOBS, policy: Policy = POLICY) -> str:
    made = plan(specs, *jobs, policy=policy, options=OPTIONS, malformed={"ftjob-9": "odd"})
    return save(made, ["specs"], "prod", OPTIONS, specs, policy)


def test_a_plan_survives_being_saved() -> None:
    loaded = load(saved_text())
    assert loaded.plan == plan(SPECS, *JOBS, options=OPTIONS, malformed={"ftjob-9": "odd"})
    assert (loaded.paths, loaded.environment, loaded.options) == (("specs",), "prod", OPTIONS)


def test_a_plan_saved_again_is_the_same_byte_for_byte() -> None:
    loaded = load(saved_text())
    again = save(loaded.plan, loaded.paths, loaded.environment, loaded.options, list(reversed(SPECS)), Policy())
    assert again == saved_text()


def test_a_plan_without_options_survives_too() -> None:
    text = save(plan([]), [], None, Options(), [], Policy())
    assert load(text).options == Options()
    assert load(text).environment is None


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "7", '{"format": "other"}', "[" * 100_000, '"' + "x" * 9])
def test_what_is_no_saved_plan_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        load(text)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_a_plan_of_another_version_is_refused(version: Any) -> None:
    document = json.loads(saved_text()) | {"version": version}
    with pytest.raises(StalePlan, match=f"is of version {version}; this program reads version 1"):
        load(json.dumps(document))


def _drop_change(document: dict[str, Any]) -> None:
    document["changes"].pop()


def _allow_more(document: dict[str, Any]) -> None:
    document["options"]["max_prune"]["count"] = 1000


def _other_reason(document: dict[str, Any]) -> None:
    document["changes"][0]["reason"] = "harmless"


def _other_paths(document: dict[str, Any]) -> None:
    document["paths"] = ["elsewhere"]


def _no_digest(document: dict[str, Any]) -> None:
    del document["digest"]


@pytest.mark.parametrize("tamper", [_drop_change, _allow_more, _other_reason, _other_paths, _no_digest])
def test_a_plan_that_was_edited_is_refused(tamper: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(saved_text())
    tamper(document)
    with pytest.raises(StalePlan, match="was changed after it was made") as caught:
        load(json.dumps(document))
    assert "plan --out FILE" in caught.value.hint


@pytest.mark.parametrize(
    "damage",
    [{"changes": 5}, {"changes": [5]}, {"changes": [{}]}, {"options": {}}, {"options": [1]}, {"paths": None}],
)
def test_a_plan_that_makes_no_sense_is_refused(damage: dict[str, Any]) -> None:
    document = json.loads(saved_text()) | damage
    del document["digest"]
    with pytest.raises(StalePlan, match="damaged"):
        load(json.dumps(document | {"digest": digest(document)}))


def remade(specs: list[Desired], jobs: list[ObservedJob], policy: Policy, owner: str = "o", server: str = "s") -> Any:
    return make_plan(owner, server, specs, Observed(jobs=tuple(jobs)), policy, NOW)


def stale(
    specs: list[Desired] = SPECS, jobs: list[ObservedJob] = JOBS, policy: Policy = POLICY, **rest: str
) -> list[str]:
    saved = load(save(remade(SPECS, JOBS, Policy()), [], None, Options(), SPECS, Policy()))
    with pytest.raises(StalePlan) as caught:
        check(saved, remade(specs, jobs, policy, **rest), specs, policy)
    assert caught.value.hint
    return caught.value.message.splitlines()[1:]


def holds(specs: list[Desired], jobs: list[ObservedJob]) -> None:
    saved = load(save(remade(SPECS, JOBS, Policy()), [], None, Options(), SPECS, Policy()))
    check(saved, remade(specs, jobs, Policy()), specs, Policy())


def test_a_plan_holds_while_nothing_changed() -> None:
    holds(SPECS, JOBS)


def test_a_plan_holds_while_only_status_moved_or_a_spec_stands_elsewhere() -> None:
    holds(list(reversed(SPECS)), [replace(JOBS[0], status="queued", estimated_finish=12_345)])
    holds([replace(s, source=Source("moved.yaml", 7)) for s in SPECS], JOBS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"owner": "else"}, ["the owner was o, now it is else"]),
        ({"server": "else"}, ["the server was s, now it is else"]),
        ({"policy": Policy(max_prune=MaxPrune(count=4))}, ["the policy in reconciler.yaml changed"]),
        ({"specs": [*SPECS, spec("zoo", B)]}, ["spec zoo is new", "zoo: create was not planned"]),
        ({"specs": SPECS[:1]}, ["spec tail is gone"]),
        ({"specs": [replace(SPECS[0], priority=9), SPECS[1]]}, ["spec triage changed"]),
        ({"specs": [replace(SPECS[0], metadata={"a": "b"}), SPECS[1]]}, ["spec triage changed"]),
        ({"specs": [replace(SPECS[0], training_file=replace(DATA, rows=41)), SPECS[1]]}, ["spec triage changed"]),
        (
            {"jobs": [*JOBS, job("ftjob-new", revision=A, created_at=200)]},
            ["triage: create was planned; now none: running"],
        ),
        ({"jobs": []}, ["triage: cancel was planned"]),
        (
            {"jobs": [*JOBS, job("ftjob-z", name="zzz", revision=B)]},
            ["zzz: cancel was not planned: no spec names it any more"],
        ),
    ],
)
def test_a_plan_is_refused_saying_what_changed(change: dict[str, Any], words: list[str]) -> None:
    said = stale(**change)
    for each in words:
        assert any(each in line for line in said), said
