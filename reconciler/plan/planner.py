"""Desired, observed, policy and now become a plan. Pure: equal inputs give byte-equal plans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from graphlib import TopologicalSorter

from reconciler.observe.state import Observed, ObservedJob, counting
from reconciler.plan.chain import Base, resolve
from reconciler.plan.limits import admit, budget_limit, prune_limit
from reconciler.plan.model import Action, Change, Plan
from reconciler.plan.table import Situation, Subject, decide, situation
from reconciler.plan.words import short
from reconciler.spec.desired import Desired, Upstream
from reconciler.spec.policy import MaxPrune, Policy


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says of one plan.

    ``targets`` and ``excludes`` are globs of names; ``recreate`` names specs whose ended job is to be started again;
    ``empty`` says that the paths hold no spec at all, ``allow_empty`` that this is meant.
    """

    targets: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    recreate: frozenset[str] = frozenset()
    max_prune: MaxPrune | None = None
    empty: bool = False
    allow_empty: bool = False

    def selects(self, name: str) -> bool:
        """Whether this plan is about a name at all."""
        wanted = not self.targets or any(fnmatchcase(name, glob) for glob in self.targets)
        return wanted and not any(fnmatchcase(name, glob) for glob in self.excludes)


def make_plan(
    owner: str,
    server: str,
    desired: Sequence[Desired],
    observed: Observed,
    policy: Policy,
    now: float,
    options: Options = Options(),
) -> Plan:
    """Plan how to make the live jobs what the specs say.

    ``now`` is in Unix seconds; only words such as 'about 5 min left' depend on it.
    """
    specs = {spec.name: spec for spec in desired}
    bound = bind(desired, observed)
    kept = {job.id for job in bound.values() if job}
    decisions = _decide_all(specs, bound, observed, policy, now, options)

    changes = list(decisions.values())
    changes += _superseded(specs, bound, decisions, observed)
    orphans = [job for job in observed.jobs if job.name not in specs and job.id not in kept]
    prunes = list(_prunes(orphans))
    changes = [c for c in changes + prunes if options.selects(c.name)]

    changes = admit(changes, specs, observed, policy.max_active)
    created = {c.name for c in changes if c.action is Action.CREATE}
    changes = [c for c in changes if c.requires is None or c.requires in created]

    pruned = {c.job_id for c in prunes if c.job_id and c.action is Action.CANCEL}
    unsafe = list(_unsafe(changes, pruned, specs, observed, policy, options))
    warnings = [
        f"{job_id} claims our owner and is left alone: {why}" for job_id, why in sorted(observed.malformed.items())
    ]
    return Plan.of(owner, server, changes, warnings, unsafe)


def bind(desired: Sequence[Desired], observed: Observed) -> dict[str, ObservedJob | None]:
    """Find the job that counts for every spec: its own, else the one it adopts, else that of a renamed spec.

    A job cannot be renamed, so one whose name has no spec any more counts for a spec of the same revision that has no
    job: renaming a spec never buys a second run.
    """
    names = {spec.name for spec in desired}
    orphans: dict[str, list[ObservedJob]] = {}
    for job in observed.jobs:
        if job.name not in names:
            orphans.setdefault(job.revision, []).append(job)
    bound: dict[str, ObservedJob | None] = {}
    for spec in sorted(desired, key=lambda s: s.name):
        found = observed.job_for(spec.name, spec.revision)
        if found is None and spec.adopt and spec.adopt.revision == spec.revision:
            found = observed.adopted.get(spec.adopt.job)
        if found is None and spec.revision in orphans:
            found = counting(orphans.pop(spec.revision))
        bound[spec.name] = found
    return bound


def _decide_all(
    specs: Mapping[str, Desired],
    bound: Mapping[str, ObservedJob | None],
    observed: Observed,
    policy: Policy,
    now: float,
    options: Options,
) -> dict[str, Change]:
    """Decide spec by spec, a base before what is built on it."""
    decisions: dict[str, Change] = {}
    uses = {name: [s.model.job] if isinstance(s.model, Upstream) else [] for name, s in sorted(specs.items())}
    for name in TopologicalSorter(uses).static_order():
        spec, job = specs[name], bound[name]
        others = [j for j in observed.by_name.get(name, ()) if j.revision != spec.revision]
        subject = Subject(
            spec=spec,
            job=job,
            predecessors=tuple(j for j in others if j.active),
            latest=max(others, key=lambda j: (j.created_at, j.id), default=None),
            base=_base(spec.model, decisions, bound, observed, now, options),
            recreate=_recreates(spec, job, policy, options),
            observed=observed,
            now=now,
        )
        decisions[name] = _renamed(decide(subject), spec, job)
    return decisions


def _base(
    model: str | Upstream,
    decisions: Mapping[str, Change],
    bound: Mapping[str, ObservedJob | None],
    observed: Observed,
    now: float,
    options: Options,
) -> Base:
    if isinstance(model, str):
        return Base("ready", model=model)
    above, job = decisions[model.job], bound[model.job]
    if above.action is Action.BLOCKED and job is None:
        return Base("blocked", reason=f"its base {model.job} is blocked: {above.reason}")
    if above.action is Action.CREATE:
        outside = "" if options.selects(model.job) else ", which this plan leaves out"
        return Base("waits", reason=f"waits for the model of {model.job}: revision {short(above.revision)}{outside}")
    return resolve(model, job, observed, now)


def _recreates(spec: Desired, job: ObservedJob | None, policy: Policy, options: Options) -> bool:
    always = policy.on_cancelled == "recreate" and situation(job) is Situation.CANCELLED
    return spec.name in options.recreate or always


def _renamed(change: Change, spec: Desired, job: ObservedJob | None) -> Change:
    if job is None or job.name == spec.name or job.id != change.job_id:
        return change
    return replace(change, notes=(*change.notes, f"{job.id} was made as {job.name}: same revision, so it is kept"))


def _superseded(
    specs: Mapping[str, Desired],
    bound: Mapping[str, ObservedJob | None],
    decisions: Mapping[str, Change],
    observed: Observed,
) -> Iterator[Change]:
    """Second active jobs of the same revision, and active jobs of other revisions, of every name that has a spec."""
    for name in sorted(specs):
        spec, current, decision = specs[name], bound[name], decisions[name]
        for job in observed.by_name.get(name, ()):
            if not job.active or (current and job.id == current.id):
                continue
            if situation(job) is Situation.UNKNOWN:
                yield _change(job, Action.NONE, f"status {job.status!r} is not known here: left alone")
            elif job.revision == spec.revision:
                keeper = current.id if current else "another"
                yield _change(job, Action.CANCEL, f"a second job of revision {short(job.revision)}: {keeper} counts")
            else:
                yield from _predecessor(spec, current, decision, job)


def _predecessor(spec: Desired, current: ObservedJob | None, decision: Change, job: ObservedJob) -> Iterator[Change]:
    """An active job of another revision: ``replace`` decides, and only once its successor exists."""
    then = f"revision {short(spec.revision)} replaces {short(job.revision)}"
    if decision.action is Action.BLOCKED and current is None:
        return
    if spec.protect and (current or spec.state == "cancelled"):
        yield _change(job, Action.BLOCKED, f"protect: true: {then}, but this job is {job.status}")
    elif spec.state == "cancelled":
        yield _change(job, Action.CANCEL, "the spec says cancelled")
    elif spec.replace == "wait":
        if current:
            yield _change(job, Action.NONE, f"replace: wait: {job.status}, and goes on to its end")
    elif decision.action is Action.CREATE:
        yield _change(job, Action.CANCEL, f"{then}, once that exists", requires=spec.name)
    elif current and (current.active or current.status == "succeeded"):
        yield _change(job, Action.CANCEL, f"{then}: {current.id}")


def _prunes(orphans: Sequence[ObservedJob]) -> Iterator[Change]:
    for job in orphans:
        if situation(job) is Situation.UNKNOWN:
            yield _change(job, Action.NONE, f"no spec; status {job.status!r} is not known here: left alone")
        elif job.active:
            yield _change(job, Action.CANCEL, "no spec names it any more")


def _change(job: ObservedJob, action: Action, reason: str, *, requires: str | None = None) -> Change:
    return Change(
        job.name, action, reason, job_id=job.id, revision=job.revision, attempt=job.attempt, requires=requires
    )


def _unsafe(
    changes: Sequence[Change],
    pruned: set[str],
    specs: Mapping[str, Desired],
    observed: Observed,
    policy: Policy,
    options: Options,
) -> Iterator[str]:
    if options.empty and pruned and not options.allow_empty:
        yield (
            f"the paths hold no spec, and {len(pruned)} active jobs are ours: all would be cancelled. "
            "If that is meant, pass --allow-empty."
        )
    elif not options.empty or options.max_prune:
        yield from prune_limit(changes, pruned, len(observed.by_name), options.max_prune or policy.max_prune)
    yield from budget_limit(changes, specs, policy.budget)
