"""A watch's numbers, as Prometheus reads them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from reconciler.apply.model import Outcome
from reconciler.loop import Reconciler
from reconciler.observe.state import Observed, ObservedJob
from reconciler.plan.model import Action, Change
from reconciler.plan.planner import Options
from reconciler.spec.desired import Desired
from reconciler.spec.policy import Policy, Price
from reconciler.watch.metrics import Metrics

ALERTS = Path(__file__).parents[3] / "deploy" / "alerts.yaml"
A = "a" * 16


def job(job_id: str, name: str, status: str, tokens: int = 0) -> ObservedJob:
    return ObservedJob(job_id, name, A, 1, status, 100, model="gpt-small", trained_tokens=tokens)


def spec(name: str) -> Desired:
    return Desired(name, A, "gpt-small", "file-1")


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics("acme/models", "https://api.example/v1")
    nothing: Any = None
    policy = Policy(prices={"gpt-*": Price(per_million=25)})
    desired = [spec("a"), spec("b"), spec("c"), spec("d")]
    reconciler = Reconciler(nothing, "", "", desired, policy, Options(), nothing, lambda: 1000.0)
    jobs = (job("1", "a", "succeeded", 2_000_000), job("2", "b", "paused"), job("3", "c", "failed"))
    observed = Observed(jobs=jobs)
    made.saw(reconciler, reconciler.plan(observed), observed)
    return made


def numbers(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Return every number by its name and the values of its labels."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def test_the_state_of_the_moment_is_told(metrics: Metrics) -> None:
    found = numbers(metrics)
    assert found["reconciler_jobs", "succeeded"] == 1
    assert found["reconciler_jobs", "running"] == 0
    assert found["reconciler_specs", "blocked"] == 1
    assert found["reconciler_specs", "create"] == 1
    assert found["reconciler_specs", "resume"] == 1
    assert found["reconciler_specs", "none"] == 1
    assert found["reconciler_drifted_jobs",] == 1
    assert found["reconciler_trained_tokens",] == 2_000_000
    assert found["reconciler_trained_cost", "USD"] == 50


def test_what_happens_is_counted(metrics: Metrics) -> None:
    metrics.looked(0.3, seen=True, now=1_700_000_000)
    metrics.looked(9, seen=False, now=1_700_000_100)
    metrics.request("GET", 200)
    metrics.request("GET", 0)
    metrics.did([Outcome(Change("a", Action.CREATE, ""), "done"), Outcome(Change("b", Action.CREATE, ""), "failed")])
    found = numbers(metrics)
    assert found["reconciler_looks_total", "seen"] == found["reconciler_looks_total", "failed"] == 1
    assert found["reconciler_last_success_timestamp_seconds",] == 1_700_000_000
    assert found["reconciler_look_duration_seconds_count",] == 2
    assert (
        found["reconciler_api_requests_total", "GET", "200"] == found["reconciler_api_requests_total", "GET", "0"] == 1
    )
    assert found["reconciler_changes_total", "create", "done"] == found["reconciler_changes_total", "create", "failed"]


def test_a_status_that_no_job_has_any_more_is_not_told(metrics: Metrics) -> None:
    nothing: Any = None
    reconciler = Reconciler(nothing, "", "", [], Policy(), Options(), nothing, lambda: 1000.0)
    observed = Observed(jobs=(job("1", "a", "odd"),))
    metrics.saw(reconciler, reconciler.plan(observed), observed)
    assert numbers(metrics)["reconciler_jobs", "odd"] == 1
    metrics.saw(reconciler, reconciler.plan(Observed()), Observed())
    assert ("reconciler_jobs", "odd") not in numbers(metrics)


def test_the_alerts_ask_for_numbers_that_there_are(metrics: Metrics) -> None:
    metrics.did([Outcome(Change("a", Action.CREATE, ""), "failed")])
    asked = set(re.findall(r"expr: .*?\b(reconciler_\w+)", ALERTS.read_text(encoding="utf-8")))
    assert len(asked) == 4
    assert asked <= {name for name, *_ in numbers(metrics)}
