from __future__ import annotations

import json
import math

from reconciler.apply.model import Outcome
from reconciler.errors import InvalidRequest, ReconcilerError
from reconciler.plan.model import Action, Change, Difference, Plan
from reconciler.report.document import to_text
from reconciler.report.plan_json import outcomes_json, plan_json

CREATE = Change(
    "a", Action.CREATE, "no job", revision="3f2a91c0aa11bb22", attempt=1, diff=(Difference("seed", None, "7"),)
)
NONE = Change("b", Action.NONE, "converged", job_id="ftjob-b")
PLAN = Plan.of("owner", "https://s/v1", [NONE, CREATE], ["odd"], ["too much"])


def test_a_plan_has_the_documented_keys() -> None:
    document = plan_json(PLAN)
    assert {"owner", "changes", "summary", "fingerprint"} <= document.keys()
    assert {"name", "action", "reason", "job_id", "revision", "attempt", "diff"} <= document["changes"][0].keys()
    assert document["changes"][0]["diff"] == [{"field": "seed", "old": None, "new": "7"}]
    assert document["summary"] == {a.value: int(a in {Action.CREATE, Action.NONE}) for a in Action}
    assert document["fingerprint"] == PLAN.fingerprint
    assert (document["warnings"], document["unsafe"]) == (["odd"], ["too much"])


def test_outcomes_name_the_job_made_and_the_error_in_parts() -> None:
    other = Change("c", Action.CANCEL, "gone", job_id="ftjob-c")
    plan = Plan.of("owner", "s", [CREATE, other])
    error = InvalidRequest(
        "no such model", hint="choose another", status=400, code="model_not_found", request_id="req_1"
    )
    document = outcomes_json(
        plan, [Outcome(CREATE, "done", "ftjob-new", request_id="req_0"), Outcome(other, "failed", error=error)]
    )
    first, second = document["changes"]
    assert (first["outcome"], first["job_id"], first["error"], first["request_id"]) == (
        "done",
        "ftjob-new",
        None,
        "req_0",
    )
    assert (second["outcome"], second["job_id"]) == ("failed", "ftjob-c")
    assert second["error"] == {
        "type": "InvalidRequest",
        "message": "no such model",
        "hint": "choose another",
        "status": 400,
        "code": "model_not_found",
        "param": None,
        "request_id": "req_1",
    }


def test_an_error_that_no_server_spoke_has_no_status() -> None:
    error = ReconcilerError("disk full")
    assert outcomes_json(PLAN, [Outcome(CREATE, "failed", error=error)])["changes"][0]["error"]["status"] is None


def test_a_change_that_nothing_was_done_for_is_skipped() -> None:
    outcomes = {c["name"]: c["outcome"] for c in outcomes_json(PLAN, [Outcome(CREATE, "done")])["changes"]}
    assert outcomes == {"a": "done", "b": "skipped"}


def test_what_was_done_beyond_the_plan_comes_last() -> None:
    extra = Change("a", Action.CANCEL, "lost the race", job_id="ftjob-2")
    changes = outcomes_json(PLAN, [Outcome(CREATE, "done"), Outcome(extra, "done")])["changes"]
    assert [(c["name"], c["action"]) for c in changes] == [("a", "create"), ("b", "none"), ("a", "cancel")]


def test_json_is_ascii_without_control_characters_and_loses_nothing() -> None:
    document = {"k\x1b": ["\x9b31m", "\u202e", "\x7f", "世", "\ud800", 'quote " \\']}
    text = to_text(document)
    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    assert json.loads(text) == document


def test_numbers_that_json_cannot_say_become_null() -> None:
    assert json.loads(to_text({"a": [math.nan, (math.inf, 1.5)]})) == {"a": [None, [None, 1.5]]}


def test_one_line_is_one_line() -> None:
    assert to_text({"a": 1}, indent=None) == '{"a": 1}\n'
