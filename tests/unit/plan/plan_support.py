"""Short ways to say what is desired, what is observed, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from reconciler.api.types import Checkpoint
from reconciler.observe.state import FileInfo, Observed, ObservedJob
from reconciler.plan.model import Action, Change, Plan
from reconciler.plan.planner import Options, make_plan
from reconciler.spec.desired import DataFile, Desired
from reconciler.spec.policy import Policy

A, B, C = "a" * 16, "b" * 16, "c" * 16
OWNER, SERVER, NOW = "acme/models", "https://api.example/v1", 10_000.0
POLICY, OPTIONS = Policy(), Options()
DATA = DataFile("data/train.jsonl", "d" * 64, 4000, 40)


def spec(name: str = "triage", revision: str = A, **rest: Any) -> Desired:
    return Desired(**{"name": name, "revision": revision, "model": "gpt-4o-mini", "training_file": DATA, **rest})


def job(id: str = "ftjob-1", status: str = "running", **rest: Any) -> ObservedJob:  # noqa: A002
    facts = {"name": "triage", "revision": A, "attempt": 1, "created_at": 100, "model": "gpt-4o-mini", **rest}
    return ObservedJob(id=id, status=status, **facts)


def checkpoint(step: int, **metrics: float | None) -> Checkpoint:
    return Checkpoint.model_validate(
        {
            "id": f"ftckpt_{step}",
            "created_at": step,
            "fine_tuned_model_checkpoint": f"ft:m:o:s:1:ckpt-step-{step}",
            "step_number": step,
            "metrics": metrics,
        }
    )


def plan(
    desired: Sequence[Desired] | Desired,
    *jobs: ObservedJob,
    policy: Policy = POLICY,
    options: Options = OPTIONS,
    adopted: Iterable[ObservedJob] = (),
    checkpoints: Mapping[str, tuple[Checkpoint, ...]] | None = None,
    files: Mapping[str, FileInfo] | None = None,
    rows: Mapping[tuple[str, str], tuple[int, int]] | None = None,
    malformed: Mapping[str, str] | None = None,
    now: float = NOW,
) -> Plan:
    observed = Observed(
        jobs=jobs,
        malformed=malformed or {},
        adopted={j.id: j for j in adopted},
        checkpoints=checkpoints or {},
        files=files or {},
        rows=rows or {},
    )
    desired = [desired] if isinstance(desired, Desired) else desired
    return make_plan(OWNER, SERVER, desired, observed, policy, now, options)


def only(made: Plan) -> Change:
    assert len(made.changes) == 1, made.changes
    return made.changes[0]


def find(made: Plan, name: str, job_id: str | None = None) -> Change:
    found = [c for c in made.changes if c.name == name and (job_id is None or c.job_id == job_id)]
    assert len(found) == 1, found
    return found[0]


def acts(made: Plan) -> list[tuple[str, str, str | None]]:
    return [(c.action.value, c.name, c.job_id) for c in made.changes if c.action.acts]


def named(made: Plan, action: Action) -> list[str]:
    return [c.name for c in made.changes if c.action is action]


def text(made: Plan) -> str:
    return json.dumps(asdict(made), default=str)
