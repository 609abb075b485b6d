"""A watch's numbers as Prometheus reads them. Loaded only where somebody may ask for them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial

from prometheus_client import CollectorRegistry, Gauge, Histogram, Info, ProcessCollector, generate_latest
from prometheus_client import Counter as Total

from reconciler import __version__
from reconciler.apply.model import Outcome
from reconciler.loop import Reconciler
from reconciler.observe.state import Observed
from reconciler.plan.cost import cost_of, price_of
from reconciler.plan.drift import find_drift
from reconciler.plan.model import Action, Plan

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_STATUSES = ("queued", "running", "paused", "succeeded", "failed", "cancelled")


class Metrics:
    """A meter whose numbers can be read. Each watch has a registry of its own."""

    def __init__(self, owner: str, server: str) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        Info("reconciler_watch", "Whose jobs are watched, where, and by which version.", registry=registry).info(
            {"owner": owner, "server": server, "version": __version__}
        )
        total, gauge = partial(Total, registry=registry), partial(Gauge, registry=registry)
        self._looks = total("reconciler_looks", "Looks at the server.", ["outcome"])
        self._requests = total("reconciler_api_requests", "Requests; status 0 is no answer.", ["method", "status"])
        self._changes = total("reconciler_changes", "Changes made or tried.", ["action", "outcome"])
        self._seconds = Histogram(
            "reconciler_look_duration_seconds", "How long a look takes, with what it does.", buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self._success = gauge("reconciler_last_success_timestamp_seconds", "When the server was last seen.")
        self._specs = gauge("reconciler_specs", "Specs by the newest plan; those of none rest.", ["action"])
        self._drifted = gauge("reconciler_drifted_jobs", "Jobs that differ although no spec changed.")
        self._jobs = gauge("reconciler_jobs", "Our jobs by status.", ["status"])
        self._tokens = gauge("reconciler_trained_tokens", "Tokens that our jobs have trained on.")
        self._cost = gauge("reconciler_trained_cost", "What these tokens cost by policy.prices.", ["currency"])
        for outcome in ("seen", "failed"):
            self._looks.labels(outcome)

    def text(self) -> bytes:
        """Return all numbers in Prometheus's own format."""
        return generate_latest(self._registry)

    def looked(self, seconds: float, *, seen: bool, now: float) -> None:
        """Count a look."""
        self._looks.labels("seen" if seen else "failed").inc()
        self._seconds.observe(seconds)
        if seen:
            self._success.set(now)

    def request(self, method: str, status: int) -> None:
        """Count a request."""
        self._requests.labels(method, str(status)).inc()

    def did(self, outcomes: Sequence[Outcome]) -> None:
        """Count changes."""
        for outcome in outcomes:
            self._changes.labels(str(outcome.change.action), outcome.result).inc()

    def saw(self, reconciler: Reconciler, plan: Plan, observed: Observed) -> None:
        """Take the numbers of the moment."""
        named = {spec.name for spec in reconciler.desired}
        actions = Counter(change.action for change in plan.changes if change.name in named)
        for action in Action:
            self._specs.labels(str(action)).set(actions[action])
        self._drifted.set(len(find_drift(reconciler.desired, observed, reconciler.now())))
        statuses = Counter(job.status for job in observed.jobs)
        self._jobs.clear()
        for status in {*_STATUSES, *statuses}:
            self._jobs.labels(status).set(statuses[status])
        self._tokens.set(sum(job.trained_tokens or 0 for job in observed.jobs))
        costs: defaultdict[str, float] = defaultdict(float)
        for job in observed.jobs:
            if price := price_of(job.model, reconciler.policy.prices):
                costs[price.currency] += cost_of(job.trained_tokens or 0, price).amount
        for currency, cost in costs.items():
            self._cost.labels(currency).set(cost)
