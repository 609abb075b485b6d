"""What holds for every plan, whatever is desired and whatever is observed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plan_support import NOW, OWNER, SERVER, A, B, C, checkpoint, text

from reconciler.observe.state import Observed, ObservedJob
from reconciler.plan.limits import matches
from reconciler.plan.model import Action, Change, Plan
from reconciler.plan.planner import Options, make_plan
from reconciler.plan.saved import load, save
from reconciler.spec.desired import Adopt, Desired, Upstream
from reconciler.spec.policy import Budget, MaxActive, MaxPrune, Policy

KNOWN = ("validating_files", "queued", "pending", "running", "pausing", "paused", "resuming")
ENDED = ("succeeded", "failed", "cancelled")
UNKNOWN = ("hibernating", "")
NAMES = ("a", "b", "c", "d")
REVISIONS = (A, B, C)


checked = settings(
    max_examples=80,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
"""A busy machine is no fault of a plan, and nothing is left behind."""


@dataclass(frozen=True)
class Case:
    """Everything a plan is made from."""

    desired: tuple[Desired, ...]
    observed: Observed
    policy: Policy
    options: Options

    def plan(self) -> Plan:
        return make_plan(OWNER, SERVER, self.desired, self.observed, self.policy, NOW, self.options)

    @property
    def jobs(self) -> dict[str, ObservedJob]:
        return {j.id: j for j in (*self.observed.jobs, *self.observed.adopted.values())}


@st.composite
def specs(draw: st.DrawFn, name: str, uses: Sequence[str]) -> Desired:
    revision = draw(st.sampled_from(REVISIONS))
    bases = [st.sampled_from(["m1", "m2"])]
    if uses:
        bases.append(st.builds(Upstream, st.sampled_from(uses), st.sampled_from(["best", "last", 10, 99])))  # type: ignore[arg-type]
    return Desired(
        name=name,
        revision=revision,
        model=draw(st.one_of(*bases)),
        training_file="file-1",
        state=draw(st.sampled_from(["running", "running", "paused", "cancelled"])),
        replace=draw(st.sampled_from(["cancel", "wait"])),
        retry_limit=draw(st.integers(0, 2)),
        protect=draw(st.booleans()),
        priority=draw(st.integers(-1, 1)),
        adopt=draw(st.none() | st.builds(Adopt, st.sampled_from(["x0", "x1"]), st.sampled_from(REVISIONS))),
    )


def jobs(job_id: str, names: Sequence[str] = (*NAMES, "gone")) -> st.SearchStrategy[ObservedJob]:
    return st.builds(
        ObservedJob,
        id=st.just(job_id),
        name=st.sampled_from(names),
        revision=st.sampled_from(REVISIONS),
        attempt=st.integers(1, 3),
        status=st.sampled_from((*KNOWN, *ENDED, *UNKNOWN)),
        created_at=st.integers(0, 4),
        model=st.sampled_from(["m1", "m2"]),
        fine_tuned_model=st.sampled_from([None, f"ft:{job_id}"]),
        error_code=st.sampled_from([None, "server_error", "invalid_training_file"]),
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True).map(sorted))
    desired = [draw(specs(name, names[:i])) for i, name in enumerate(names)]
    live = [draw(jobs(f"j{i}")) for i in range(draw(st.integers(0, 8)))]
    adopted = [draw(jobs(f"x{i}", ("x",))) for i in range(draw(st.integers(0, 2)))]
    bound = {s.adopt.job: s.adopt.revision for s in desired if s.adopt}  # observing gives them the adopting revision
    adopted = [replace(j, revision=bound.get(j.id, j.revision)) for j in adopted]
    steps = (checkpoint(10, valid_loss=0.5), checkpoint(20))
    limit = st.none() | st.integers(1, 4)
    policy = Policy(
        max_active=MaxActive(
            total=draw(limit), models=draw(st.dictionaries(st.sampled_from(["m1", "m*"]), st.just(2)))
        ),
        on_cancelled=draw(st.sampled_from(["block", "recreate"])),
        max_prune=MaxPrune(count=draw(st.integers(0, 3))),
        budget=Budget(creates=draw(limit)),
    )
    options = Options(excludes=tuple(draw(st.lists(st.sampled_from(NAMES), max_size=1))), empty=not desired)
    observed = Observed(
        jobs=tuple(sorted(live, key=lambda j: (j.created_at, j.id))),
        adopted={j.id: j for j in adopted},
        checkpoints={j.id: steps for j in live[::2]},
    )
    return Case(tuple(desired), observed, policy, options)


@checked
@given(cases(), st.randoms(use_true_random=False))
def test_a_plan_depends_on_no_order(case: Case, random: Any) -> None:
    desired, live = list(case.desired), list(case.observed.jobs)
    random.shuffle(desired)
    random.shuffle(live)
    shuffled = replace(case, desired=tuple(desired), observed=replace(case.observed, jobs=tuple(live)))
    assert text(shuffled.plan()) == text(case.plan())


@checked
@given(cases())
def test_every_spec_and_every_acting_change_is_there_once(case: Case) -> None:
    plan = case.plan()
    assert len({c.key for c in plan.changes}) == len(plan.changes)
    acted_on = [c.job_id for c in plan.changes if c.action.acts and c.job_id]
    assert len(set(acted_on)) == len(acted_on)
    assert all(c.reason for c in plan.changes)
    assert {s.name for s in case.desired if case.options.selects(s.name)} <= {c.name for c in plan.changes}


@checked
@given(cases())
def test_creates_are_new_attempts_one_for_a_name(case: Case) -> None:
    creates = [c for c in case.plan().changes if c.action is Action.CREATE]
    assert len({c.name for c in creates}) == len(creates)
    there = {(j.name, j.revision, j.attempt) for j in case.observed.jobs}
    assert all((c.name, c.revision, c.attempt) not in there and c.model for c in creates)


@checked
@given(cases())
def test_only_jobs_that_were_seen_active_in_a_known_status_are_acted_on(case: Case) -> None:
    for change in case.plan().changes:
        if change.action.acts and change.action is not Action.CREATE:
            assert case.jobs[change.job_id or ""].status in KNOWN


@checked
@given(cases())
def test_no_job_of_a_protected_spec_is_cancelled(case: Case) -> None:
    protected = {s.name for s in case.desired if s.protect}
    assert not [c for c in case.plan().changes if c.action is Action.CANCEL and c.name in protected]


@checked
@given(cases())
def test_a_predecessor_is_given_up_only_for_a_job_that_stands_or_is_created(case: Case) -> None:
    plan = case.plan()
    created = {c.name for c in plan.changes if c.action is Action.CREATE}
    wanted = {s.name: s for s in case.desired}
    for change in plan.changes:
        spec = wanted.get(change.name)
        if change.action is not Action.CANCEL or not spec or spec.state == "cancelled":
            continue
        if change.revision != spec.revision:
            counts = [c for c in plan.changes if c.name == spec.name and c.job_id and c.revision == spec.revision]
            assert spec.name in created or any(
                case.jobs[c.job_id or ""].active or case.jobs[c.job_id or ""].status == "succeeded" for c in counts
            )


@checked
@given(cases())
def test_creates_and_resumes_never_exceed_the_slots(case: Case) -> None:
    limits = {"*": case.policy.max_active.total, **case.policy.max_active.models}
    plan = case.plan()
    for pattern, limit in limits.items():
        holding = {j.id for j in case.jobs.values() if j.active and j.status != "paused" and matches(j.model, pattern)}
        freed = {c.requires for c in plan.changes if c.requires and c.job_id in holding}
        starts = [
            c
            for c in plan.changes
            if (c.action is Action.RESUME and matches(case.jobs[c.job_id or ""].model, pattern))
            or (c.action is Action.CREATE and matches(c.model or "", pattern) and c.name not in freed)
        ]
        assert limit is None or not starts or len(holding) + len(starts) <= limit


@checked
@given(cases())
def test_a_plan_survives_being_saved(case: Case) -> None:
    plan = case.plan()
    saved = save(plan, ["specs"], None, case.options, case.desired, case.policy)
    assert load(saved).plan == plan
    assert load(saved).plan.fingerprint == plan.fingerprint


def applied(case: Case, plan: Plan, ids: Any, move: Callable[[ObservedJob], ObservedJob]) -> Case:
    """Return what the server holds after a plan was applied there and every job moved on."""
    after = {"resume": "queued", "pause": "paused", "cancel": "cancelled"}
    done = {c.job_id: after[c.action] for c in plan.changes if c.action.acts and c.job_id}

    def become(job: ObservedJob) -> ObservedJob:
        return move(replace(job, status=done.get(job.id, job.status)))

    made = [_made(c, f"new{next(ids)}") for c in plan.changes if c.action is Action.CREATE]
    observed = replace(
        case.observed,
        jobs=tuple(become(j) for j in (*case.observed.jobs, *made)),
        adopted={j.id: become(j) for j in case.observed.adopted.values()},
    )
    return replace(case, observed=observed)


def _made(change: Change, job_id: str) -> ObservedJob:
    assert change.revision
    assert change.attempt
    return ObservedJob(
        job_id, change.name, change.revision, change.attempt, "queued", 9, change.model or "", f"ft:{job_id}"
    )


@checked
@given(cases())
def test_what_was_applied_needs_nothing_more(case: Case) -> None:
    ids = count()
    for _ in range(4):
        if not (plan := case.plan()).has_changes:
            return
        case = applied(case, plan, ids, lambda job: job)
    raise AssertionError(f"no rest: {case.plan().changes}")


@checked
@given(cases(), st.data())
def test_a_world_that_moves_comes_to_rest_within_its_attempts(case: Case, data: st.DataObject) -> None:
    """Jobs end well or badly; at last nothing is to be done, and no revision was bought beyond its retries."""
    ids, bought, retries = count(), Counter[tuple[str, str | None]](), {s.name: s.retry_limit for s in case.desired}

    def move(job: ObservedJob) -> ObservedJob:
        if job.status not in KNOWN or job.status == "paused":
            return job
        status = data.draw(st.sampled_from(["running", "succeeded", "failed", "paused"]))
        return replace(job, status=status, error_code="server_error" if status == "failed" else None)

    for _ in range(12):
        plan = case.plan()
        bought.update((c.name, c.revision) for c in plan.changes if c.action is Action.CREATE)
        case = applied(case, plan, ids, move)
    cancelled = 1 if case.policy.on_cancelled == "recreate" else 0
    assert all(number <= retries[name] + 1 + cancelled for (name, _), number in bought.items())
