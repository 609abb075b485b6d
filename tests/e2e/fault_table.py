"""Every fault, and what comes of it: the one source of the tests and of docs/faults.md."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from program import ROOT

DOCUMENT = ROOT / "docs" / "faults.md"
Rule = dict[str, Any]

LIST = {"method": "GET", "path": "/fine_tuning/jobs"}
CREATE = {"method": "POST", "path": "/fine_tuning/jobs"}
UPLOAD = {"method": "POST", "path": "/files"}
PAUSE = {"method": "POST", "path": ".*/pause"}
ONCE = {"until": 1}
NOTHING_MADE, ONE_JOB, AS_BEFORE = "no job", "one job", "as before"
CREATES, NOTHING, LOOKS = "creates it", "nothing is left to do", "finds the job; nothing is left to do"


def error(status: int, match: Rule, **more: Any) -> Rule:
    return {"fault": {"kind": "error", "status": status, **more}, "match": match}


@dataclass(frozen=True)
class Row:
    """A fault, the command that meets it, and all that follows.

    ``start`` is how things stand before: one spec and no job (``new``), a job in training whose spec now says paused
    (``pause``), a paused one whose spec says running (``resume``), four trained ones and a new spec (``four``), or a
    job of somebody else beside a new spec (``foreign``). ``live`` and ``ever`` count our jobs afterwards: those not
    cancelled, and all; ``bought`` is ``ever`` once the faults have stopped and another run has converged. ``status`` is
    that of the newest job afterwards, where it matters. ``lag`` is what the settings say of the server, in seconds.
    """

    fault: str
    rules: Sequence[Rule]
    code: int
    sees: str
    left: str
    then: str
    live: int
    ever: int
    bought: int
    start: str = "new"
    command: str = "apply"
    lag: float = 1.0
    status: str = ""
    slow: bool = False


def made(fault: str, rules: Sequence[Rule], sees: str, **more: Any) -> Row:
    """Return a row in which the job is made all the same."""
    row = {"code": 0, "left": ONE_JOB, "then": NOTHING, "live": 1, "ever": 1, "bought": 1}
    return Row(fault, rules, sees=sees, **{**row, **more})


def refused(fault: str, rules: Sequence[Rule], sees: str, **more: Any) -> Row:
    """Return a row in which no job is made, and the next run makes it."""
    row = {"code": 1, "left": NOTHING_MADE, "then": CREATES, "live": 0, "ever": 0, "bought": 1}
    return Row(fault, rules, sees=sees, **{**row, **more})


def unreadable(fault: str, rules: Sequence[Rule], sees: str, **more: Any) -> Row:
    """Return a row in which a list of four jobs cannot be trusted."""
    row = {"code": 1, "left": AS_BEFORE, "then": "creates what is new", "live": 4, "ever": 4, "bought": 5}
    return Row(fault, rules, sees=sees, start="four", **{**row, **more})


def turned(fault: str, rules: Sequence[Rule], sees: str, **more: Any) -> Row:
    """Return a row about one job that is to be paused or resumed."""
    row = {"start": "pause", "code": 0, "left": "the job, paused", "then": NOTHING, "live": 1, "ever": 1, "bought": 1}
    return Row(fault, rules, sees=sees, **{**row, "status": "paused", **more})


TWO_A_PAGE = {"fault": {"kind": "pages", "most": 2}, "match": LIST}
AGAIN, LOOKING, NOT_AGAIN = (
    "Trying again in",
    "no clear answer to the create; looking for its job",
    "It was not sent again",
)
CONTRADICTS = "contradicts itself"

ROWS = (
    # Refusals
    made("429 with `Retry-After`", [error(429, LIST | ONCE, retry_after=0.3)], "Trying again in 0."),
    made("429 with `retry-after-ms`", [error(429, UPLOAD | ONCE, retry_after_ms=300)], AGAIN),
    made("429 without either, on a create", [error(429, CREATE | ONCE)], AGAIN),
    refused("429 for ever, on creates", [error(429, CREATE)], "The server asks for fewer requests", slow=True),
    refused(
        "The day's limit", [error(429, CREATE, code="daily_rate_limit_exceeded")],
        "The day's limit of fine-tuning jobs is used up",
    ),
    refused(
        "403 `training_not_available`", [error(403, CREATE, code="training_not_available")],
        "This account may not start fine-tuning jobs on this server",
    ),
    refused("401: a wrong key", [error(401, LIST, code="invalid_api_key")], "The server does not accept the key"),
    refused("409 on a create", [error(409, CREATE)], "The object is in a state that does not allow this"),
    refused(
        'An error of another shape, `{"detail": ...}`', [error(422, CREATE, shape="detail", message="No such plan.")],
        "The server refuses the request: No such plan. (HTTP 422",
    ),
    refused("An error as plain text", [error(400, CREATE, shape="text", message="go away")], "go away (HTTP 400"),
    # Failures
    made("500 on a list, for a while", [error(500, LIST | {"until": 2})], AGAIN),
    refused("500 on lists, for ever", [error(500, LIST)], "The server failed: An error on purpose.", slow=True),
    made("503 as plain text, for a while", [error(503, LIST | ONCE, shape="text")], AGAIN),
    refused("500 on a create, before its effect", [error(500, CREATE | ONCE)], NOT_AGAIN),
    made("500 on a create, after its effect", [error(500, CREATE | ONCE, when="after")], LOOKING),
    made("500 on an upload, after its effect", [error(500, UPLOAD | ONCE, when="after")], "1 done"),
    made(
        "502 with an HTML page, after a create's effect",
        [error(502, CREATE | ONCE, when="after", shape="html")], LOOKING,
    ),
    refused("An HTML page instead of a list", [error(200, LIST, shape="html")], "answered with an HTML page"),
    # Connections
    refused("A create's connection dropped before its effect", [{"fault": "drop", "match": CREATE | ONCE}], NOT_AGAIN),
    made(
        "A create's connection dropped after its effect",
        [{"fault": {"kind": "drop", "when": "after"}, "match": CREATE | ONCE}], LOOKING,
    ),
    made("A list's connection dropped", [{"fault": "drop", "match": LIST | ONCE}], AGAIN),
    made("Slow answers", [{"fault": {"kind": "slow", "seconds": 0.5}, "match": {"until": 4}}], "1 done"),
    made("A create's answer cut short", [{"fault": "truncate", "match": CREATE | ONCE}], LOOKING),
    made("A list cut short", [{"fault": "truncate", "match": LIST | ONCE}], "is cut short or not JSON"),
    # Lists
    made("A list that lags", [{"fault": {"kind": "lag", "seconds": 1.5}}], "1 done", lag=3),
    made(
        "A list that lags, and a create's answer that is lost",
        [
            {"fault": {"kind": "lag", "seconds": 1.5}},
            {"fault": {"kind": "drop", "when": "after"}, "match": CREATE | ONCE},
        ],
        LOOKING, lag=3,
    ),
    made("A list that ignores the metadata filter", [{"fault": "unfiltered"}], "1 done", start="foreign"),
    unreadable("Pages that skip a row", [TWO_A_PAGE, {"fault": {"kind": "shift", "rows": 1}}], CONTRADICTS),
    unreadable("Pages that repeat a row", [TWO_A_PAGE, {"fault": {"kind": "shift", "rows": -1}}], CONTRADICTS),
    unreadable("A job on two pages", [TWO_A_PAGE, {"fault": "duplicate"}], CONTRADICTS),
    unreadable("A list that is oldest first", [{"fault": "oldest_first"}], CONTRADICTS),
    unreadable("An empty page that says that more follows", [{"fault": "endless"}], CONTRADICTS),
    unreadable(
        "Pages that shift once", [TWO_A_PAGE, {"fault": {"kind": "shift", "rows": 1}, "match": LIST | {"until": 3}}],
        "1 done", code=0, left="the four jobs and the new one", then=NOTHING, live=5, ever=5,
    ),
    # What is shown
    made("A clock two hours ahead", [{"fault": {"kind": "skew", "seconds": 7200}}], "1 done"),
    made("A clock two hours behind", [{"fault": {"kind": "skew", "seconds": -7200}}], "1 done"),
    turned(
        "A status that nobody knows", [{"fault": {"kind": "status", "names": {"running": "under_review"}}}],
        "status 'under_review' is not known here: left alone", command="plan --verbose",
        left="the job, running", then="pauses it", status="running",
    ),
    made("Fields that nobody knows", [{"fault": "extra"}], "1 done"),
    made("Metadata missing from a create's answer", [{"fault": "forget_metadata", "match": CREATE}], "1 done"),
    refused(
        "Metadata that is never stored", [{"fault": {"kind": "forget_metadata", "stored": True}}],
        "The server dropped the metadata of job", left="the job, cancelled at once; nothing more is bought",
    ),
    made("A file that is never processed", [{"fault": "unprocessed"}], "1 done", slow=True),
    # Pausing
    turned(
        "Pausing that takes its time", [{"fault": {"kind": "slow_turn", "seconds": 1.5}}], "1 done",
        command="apply --wait",
    ),
    turned(
        "Resuming that takes its time", [{"fault": {"kind": "slow_turn", "seconds": 1.5}}], "1 done",
        start="resume", command="apply --wait", left="the job, trained", status="succeeded", slow=True,
    ),
    turned(
        "Paused jobs shown as queued", [{"fault": {"kind": "status", "names": {"paused": "queued"}}}], "1 done",
        command="apply --wait",
    ),
    *(
        turned(
            f"A server that cannot pause ({status})", [error(status, PAUSE)], "This server cannot pause jobs", code=1,
            left="the job, running", then="pauses it, where the server can by then", status="running",
        )
        for status in (404, 405, 501)
    ),
)  # fmt: skip


def slug(row: Row) -> str:
    """Return a short name for a row."""
    return re.sub(r"[^a-z0-9]+", "-", row.fault.lower()).strip("-")


def document() -> str:
    """Render the table."""
    return "\n".join(_lines()) + "\n"


_HEAD = """\
<!-- Written by `python tests/e2e/fault_table.py`: do not edit. -->
# When things go wrong

What the reconciler does about each fault of a server or of the way to it. Every row is a test: the command really
meets the fault, and is judged by its exit code, by what it says and by the server's own record. Then the faults stop,
the next run does what the last column says, and the plan after it is empty: one job a spec, none bought twice.

The rules are those of a [chaos file](chaos.md), so that each can be tried: `reconciler serve --chaos FILE`.
"""


def _lines() -> Iterator[str]:
    yield _HEAD
    yield "| fault | command | exit | what is said | what is left | the next run |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for row in ROWS:
        cells = [row.fault, f"`{row.command}`", str(row.code), f"`{row.sees}`", row.left, row.then]
        yield f"| {' | '.join(cells)} |"
    yield "\n## The rules\n"
    yield "```yaml"
    for row in ROWS:
        yield f"# {row.fault}"
        yield from (f"- {_flow(rule)}" for rule in row.rules)
    yield "```"


def _flow(value: Any) -> str:
    """Render YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(part)}" for key, part in value.items()) + "}"
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z_/][\w./-]*", value)
    return value if plain and isinstance(value, str) else json.dumps(value)


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
