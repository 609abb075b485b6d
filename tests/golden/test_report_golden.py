"""Reports as people see them, kept as files. ``UPDATE_GOLDEN=1 pytest tests/golden`` writes them anew."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.apply.model import Outcome
from reconciler.errors import InvalidRequest
from reconciler.plan.drift import Drift
from reconciler.plan.model import Action, Change, Difference, Plan
from reconciler.report.document import to_text
from reconciler.report.drift import drift_json, render_drift
from reconciler.report.graph import graph_json, mermaid, render_graph
from reconciler.report.outcomes import render_outcomes
from reconciler.report.patch import render_patch, unified
from reconciler.report.plan_json import outcomes_json, plan_json
from reconciler.report.plan_markdown import plan_markdown
from reconciler.report.plan_text import render_plan
from reconciler.report.status import StatusRow, render_status
from reconciler.spec.desired import Desired, Source, Upstream
from reconciler.spec.edit import set_state

REPORTS = Path(__file__).parent / "reports"
OWNER = "github.com/acme/support-models"
SERVER = "https://api.openai.com/v1"

CREATE = Change(
    "triage",
    Action.CREATE,
    "no job of revision 3f2a91c0 exists; the newest is of revision 9b11aa02",
    revision="3f2a91c0aa11bb22",
    attempt=1,
    diff=(
        Difference("hyperparameters.n_epochs", "3", "4"),
        Difference("training_file", "train.jsonl 8ac1d0f2 (200 rows)", "train.jsonl 77ab0e91 (214 rows)", 20, 6),
        Difference("seed", None, "7"),
    ),
    model="gpt-4.1-mini-2025-04-14",
)
RETRY = Change(
    "refund-dpo",
    Action.CREATE,
    "attempt 1 failed (server_error), which is transient; 1 of 2 retries left",
    revision="aa00bb11cc22dd33",
    attempt=2,
    model="gpt-4o-2024-08-06",
)
REPLACED = Change(
    "triage",
    Action.CANCEL,
    "an active job of another revision; replace: cancel",
    "ftjob-Zx81kLmQ2abc",
    "9b11aa02cc33dd44",
    1,
    requires="triage",
)
BLOCKED = Change(
    "grader-rl",
    Action.BLOCKED,
    "its job failed: invalid_training_file: line 17 has no assistant message",
    "ftjob-gr4d3r",
    "77889900aabbccdd",
    1,
)
MATCHING = [
    Change(f"lang-{code}", Action.NONE, "converged", f"ftjob-{code}", "abcdabcdabcdabcd", 1) for code in ("de", "fr")
]

EVERY_ACTION = Plan.of(
    OWNER,
    SERVER,
    [
        CREATE,
        RETRY,
        REPLACED,
        BLOCKED,
        Change(
            "faq-n-epochs-2",
            Action.RESUME,
            "its spec says running, its job is paused",
            "ftjob-p4us3d",
            "12345678abcdef00",
            1,
        ),
        Change("tone", Action.PAUSE, "its spec says paused", "ftjob-t0n3", "fedcba0987654321", 1),
        Change("old-router", Action.CANCEL, "its spec is gone", "ftjob-0ldr0ut3r", "0011223344556677", 3),
        Change(
            "triage-stage2",
            Action.WAIT,
            "its model is made by triage, which has not finished",
            None,
            "5566778899aabbcc",
            1,
        ),
        Change("draft", Action.HOLD, "its spec says paused, and no job exists"),
        Change("relabelled", Action.NONE, "converged", notes=("metadata.team differs: waits for the next revision",)),
        *MATCHING,
    ],
    ["job ftjob-bad claims this owner, but its revision cannot be read; it is left alone"],
)
LONG = Plan.of(
    OWNER,
    SERVER,
    [
        Change(
            "a-name-as-long-as-names-may-be-" + "x" * 32,
            Action.CREATE,
            "the newest job of this name is of another revision, and that job ended long ago; " * 3
            + "so another is made",
            revision="3f2a91c0aa11bb22",
            attempt=12,
            diff=(
                Difference(
                    "method.reinforcement.grader",
                    '{"source":"' + "a = 1;" * 60 + '"}',
                    '{"source":"' + "a = 1;" * 59 + 'b = 2;"}',
                ),
                Difference(
                    "suffix", "an-old-suffix-of-some-length-for-models", "a-new-suffix-of-some-length-for-models"
                ),
            ),
            model="ft:gpt-4.1-mini-2025-04-14:acme:a-long-suffix-of-a-chained-model:Zx81kLmQ:ckpt-step-1200",
            notes=("a note that is worth more words than a narrow terminal holds in a single line of it",),
        ),
        Change("b", Action.WAIT, "short"),
    ],
    unsafe=[
        "12 of 20 owned jobs would be cancelled, more than max_prune allows (10, or half); --allow-prune permits it"
    ],
)
HOSTILE = Plan.of(
    "own\x1b]0;title\x07er",
    "https://evil.example/\u202egnp",
    [
        Change(
            "</code><script>alert(1)</script>",
            Action.BLOCKED,
            "\x1b[2J\x1b[32mPlan: nothing to do.\x1b[0m\r\n| a | b |\n# Heading\n@octocat fixes #1 and GH-2",
            "ftjob-\u202e123",
            "\x9b31mrevision",
            1,
            (Difference("metadata.`x`", "```\n</details>", "[link](https://evil.example) ![i](www.evil.example)"),),
        ),
        Change("wide-世界", Action.CANCEL, "名前が変わりました " * 9, "ftjob-1"),
    ],
    ["<!-- \u2066 -->\x00"],
    ["~~nothing~~ **here**"],
)
PLANS = {
    "every-action": EVERY_ACTION,
    "long": LONG,
    "hostile": HOSTILE,
    "converged": Plan.of(OWNER, SERVER, MATCHING),
    "empty": Plan.of(OWNER, SERVER, []),
}
OUTCOMES = [
    Outcome(CREATE, "done", "ftjob-n3w", detail="created", request_id="req_1a2b"),
    Outcome(
        RETRY,
        "failed",
        error=InvalidRequest(
            "The model `gpt-4o-2024-08-06` cannot be fine-tuned.",
            hint="Choose a model that this server trains.",
            status=400,
            code="model_not_available",
            param="model",
            request_id="req_9f00",
        ),
    ),
    Outcome(REPLACED, "skipped", detail="an earlier change failed"),
]
ROWS = [
    StatusRow(
        "triage", "ftjob-n3w", "succeeded", "running", "3f2a91c0aa11bb22", 1, "ft:gpt-4.1-mini:acme:triage:n3w", True
    ),
    StatusRow("refund-dpo", "ftjob-a1b2", "running", "running", "aa00bb11cc22dd33", 2, None, False, 1_772_000_250),
    StatusRow(
        "grader-rl", "ftjob-gr4d3r", "failed", "running", "77889900aabbccdd", 1, None, False, error="line 17: no answer"
    ),
    StatusRow("draft", None, None, "paused", None, None, None, True),
    StatusRow("old", "ftjob-0ld", "odd\x1bstatus", None, "0011223344556677", 3, None, False),
]
DRIFT = [
    Drift(None, "ftjob-bad", None, None, "claims our owner, but cannot be read: reconciler.name is ''"),
    Drift("refund-dpo", "ftjob-a1b2", "running", "paused", "is paused; the spec says running"),
    Drift("triage", "ftjob-tw1c3", "running", "odd\x1bstatus", "a second job of revision 3f2a91c0: ftjob-n3w counts"),
]


def _spec(name: str, model: str | Upstream, **rest: Any) -> Desired:
    return Desired(name, "", model, "file-1", source=Source(f"specs/{name}.yaml", 3), **rest)


GRAPH = [
    _spec("triage", "gpt-4.1-mini-2025-04-14"),
    _spec("triage-stage2", Upstream("triage", "best")),
    _spec("triage-strict", Upstream("triage-stage2"), state="paused"),
    _spec("triage-early", Upstream("triage", 40)),
    _spec("tone", 'org/"odd"]-->x;`%%`\x1b'),
    _spec("tone-fr", Upstream("tone"), state="cancelled"),
]
SPECS = """# Two of a kind.
name: triage  # the first
model: gpt-4.1-mini-2025-04-14
---
name: 'tone'
model: gpt-4.1-nano-2025-04-14 # a comment that turns \u202eback
state: running # last"""


def golden(name: str, text: str) -> None:
    """Compare with the file of this name, byte by byte, or write it where that is asked for."""
    path = REPORTS / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_bytes(text.encode())
    assert path.read_bytes().decode() == text


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("name", PLANS)
def test_a_plan_reads_well_at_every_width(name: str, width: int) -> None:
    text = render_plan(PLANS[name], color=False, width=width)
    golden(f"{name}.{width}.txt", text)


@pytest.mark.parametrize(
    ("suffix", "render"),
    [
        ("pipe.txt", lambda plan: render_plan(plan, color=False, width=None, verbose=True)),
        ("color.txt", lambda plan: render_plan(plan, color=True, width=80)),
        ("json", lambda plan: to_text(plan_json(plan))),
        ("md", plan_markdown),
    ],
)
@pytest.mark.parametrize("name", PLANS)
def test_a_plan_reads_well_in_every_form(name: str, suffix: str, render: Callable[[Plan], str]) -> None:
    golden(f"{name}.{suffix}", render(PLANS[name]))


@pytest.mark.parametrize("width", [60, 80, 200])
def test_outcomes_and_status_read_well_at_every_width(width: int) -> None:
    golden(f"outcomes.{width}.txt", render_outcomes(OUTCOMES, color=False, width=width))
    golden(f"status.{width}.txt", render_status(ROWS, now=1_772_000_000, color=False, width=width))


def test_outcomes_read_well_as_json() -> None:
    golden("outcomes.json", to_text(outcomes_json(EVERY_ACTION, OUTCOMES)))


@pytest.mark.parametrize("width", [60, 80, 200])
def test_drift_and_graph_read_well_at_every_width(width: int) -> None:
    golden(f"drift.{width}.txt", render_drift(DRIFT, color=False, width=width))
    golden(f"graph.{width}.txt", render_graph(GRAPH, color=False, width=width))


def test_drift_and_graph_read_well_in_every_form() -> None:
    golden("drift.json", to_text(drift_json(DRIFT)))
    golden("graph.json", to_text(graph_json(GRAPH)))
    golden("graph.mmd", mermaid(GRAPH))


def test_an_edit_reads_as_the_diff_that_it_is() -> None:
    after = set_state(set_state(SPECS.encode(), "triage", "paused", "x"), "tone", "paused", "x")
    diff = unified("specs/two.yaml", SPECS, after.decode())
    golden("edit.diff", diff)
    golden("edit.color.txt", render_patch(diff, color=True))


def test_every_kept_report_is_still_made() -> None:
    made = {
        f"{name}.{form}"
        for name in PLANS
        for form in ("60.txt", "80.txt", "200.txt", "pipe.txt", "color.txt", "json", "md")
    }
    tables = ("outcomes", "status", "drift", "graph")
    made |= {f"{name}.{width}.txt" for name in tables for width in (60, 80, 200)}
    made |= {"outcomes.json", "drift.json", "graph.json", "graph.mmd", "edit.diff", "edit.color.txt"}
    assert {path.name for path in REPORTS.iterdir()} == made
