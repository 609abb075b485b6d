"""Desired, observed, policy and now become a plan. Pure: equal inputs give byte-equal plans."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from graphlib import TopologicalSorter

from reconciler.observe.state import Observed, ObservedJob, counting
from reconciler.plan.chain import Base, resolve
from reconciler.plan.cost import priced
from reconciler.plan.limits import admit, budget_limit, prune_limit
from reconciler.plan.model import Action, Change, Plan
from reconciler.plan.permissions import plan_access
from reconciler.plan.table import Situation, Subject, adopts, decide, situation
from reconciler.plan.words import short
from reconciler.spec.desired import Desired, Upstream
from reconciler.spec.policy import MaxPrune, Policy


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says of one plan.

    ``targets`` and ``excludes`` are globs of names; ``recreate`` names specs whose ended job is to be started again;
    ``empty`` says that the paths hold no spec at all, ``allow_empty`` that this is meant; ``partial`` says that they
    are only a part of the specs, so that nothing has lost its spec; ``take_over`` names the owners whose jobs were
    observed as well, to count where a spec has none of ours.
    """

    targets: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    recreate: frozenset[str] = frozenset()
    max_prune: MaxPrune | None = None
    empty: bool = False
    allow_empty: bool = False
    partial: bool = False
    take_over: tuple[str, ...] = ()

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
    decisions = _decide_all(specs, bound, observed, policy, now, options)

    kept = {job.id for job in bound.values() if job}
    spare = [job for job in {**{j.id: j for j in observed.jobs}, **observed.adopted}.values() if job.id not in kept]
    prunes = [c for c in _prunes((j for j in spare if j.name not in specs), options) if options.selects(c.name)]
    changes = [*decisions.values(), *_superseded(specs, bound, decisions, spare)]
    changes = [c for c in changes if options.selects(c.name)]

    changes = admit(changes, specs, observed, policy.max_active)
    created = {c.name for c in changes if c.action is Action.CREATE}
    changes = [c for c in changes if c.requires is None or c.requires in created]

    if policy.prices:
        changes = priced(changes, specs, policy.prices)

    unsafe = [*_unsafe(prunes, observed, policy, options), *budget_limit(changes, specs, policy.budget)]
    access = [a for a in plan_access(desired, bound, observed, policy) if options.selects(a.name)]
    return Plan.of(owner, server, [*changes, *prunes], warnings(observed), unsafe, access)


def warnings(observed: Observed) -> list[str]:
    """Say which jobs are left alone although they claim to be ours."""
    return [f"{job_id} claims our owner and is left alone: {why}" for job_id, why in sorted(observed.malformed.items())]


def bind(desired: Sequence[Desired], observed: Observed) -> dict[str, ObservedJob | None]:
    """Find the job that counts for every spec: its own, else the one it adopts, else that of a renamed spec.

    A job cannot be renamed, so one whose name has no spec any more counts for a spec of the same revision that has no
    job: renaming a spec never buys a second run. Last come the jobs of owners that are taken over: one of the same
    revision counts, and none of the others is touched. Where a spec's own job, or the one it adopts, ended without a
    model, one of these that is good takes its place. No job counts for two specs.
    """
    bound = {spec.name: observed.job_for(spec.name, spec.revision) for spec in desired}
    specs = sorted(desired, key=lambda s: (bound[s.name] is not None, s.name))  # first who would have to buy
    taken = {job.id for job in bound.values() if job}
    orphans = _orphans(bound, observed)
    others = _by_revision(observed.taken)
    for spec in specs:
        own = bound[spec.name]
        if own and _stands(own):
            continue
        adopted = observed.adopted.get(adopts(spec) or "")
        if adopted:  # another spec may adopt it too, under another name and revision
            adopted = replace(adopted, name=spec.name, revision=spec.revision)
        orphan = counting(j for j in orphans.get(spec.revision, ()) if j.id not in taken)
        other = _other_owners(spec, others.get(spec.revision, ()), taken)
        free = [job for job in (adopted, orphan, other) if job and job.id not in taken]
        job = next(filter(_stands, free), free[0] if free else None)
        if job and (own is None or _stands(job)):
            bound[spec.name] = job
            taken.add(job.id)
    return bound


def _by_revision(jobs: Iterable[ObservedJob]) -> Mapping[str, Sequence[ObservedJob]]:
    """By revision, the jobs that are worth keeping."""
    found: dict[str, list[ObservedJob]] = defaultdict(list)
    for job in jobs:
        if job.status != "cancelled":
            found[job.revision].append(job)
    return found


def _other_owners(spec: Desired, jobs: Sequence[ObservedJob], taken: Collection[str]) -> ObservedJob | None:
    """Choose among the jobs of another owner: one of the same name before any other."""
    free = [job for job in jobs if job.id not in taken]
    return counting(j for j in free if j.name == spec.name) or counting(free)


def _orphans(names: Collection[str], observed: Observed) -> Mapping[str, Sequence[ObservedJob]]:
    """By revision, the jobs that count for names without a spec, as far as they are worth keeping."""
    orphans: dict[str, list[ObservedJob]] = defaultdict(list)
    for name, jobs in observed.by_name.items():
        if name not in names:
            for revision in {job.revision for job in jobs}:
                job = observed.job_for(name, revision)
                if job and job.status != "cancelled":
                    orphans[revision].append(job)
    return orphans


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
    kept = {job.id for job in bound.values() if job}
    uses = {name: [s.model.job] if isinstance(s.model, Upstream) else [] for name, s in sorted(specs.items())}
    for name in TopologicalSorter(uses).static_order():
        spec, job = specs[name], bound[name]
        others = [j for j in observed.others(spec) if j.id not in kept]
        others.sort(key=lambda j: (j.created_at, j.id))
        subject = Subject(
            spec=spec,
            job=job,
            predecessors=tuple(j for j in others if j.active),
            latest=others[-1] if others else None,
            base=_base(spec.model, decisions, bound, observed, now, options),
            recreate=_recreates(spec, job, policy, options),
            observed=observed,
            now=now,
        )
        decisions[name] = _renamed(replace(decide(subject), depth=_depth(subject, decisions)), spec, job)
    return decisions


def _depth(subject: Subject, decisions: Mapping[str, Change]) -> int:
    """How many models must be made before a spec's own job can be."""
    model = subject.spec.model
    if subject.job or subject.base.kind == "ready" or not isinstance(model, Upstream):
        return 0
    return decisions[model.job].depth + 1


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
    if above.action is Action.CREATE:
        outside = "" if options.selects(model.job) else ", which this plan leaves out"
        return Base("waits", reason=f"waits for the model of {model.job}: revision {short(above.revision)}{outside}")
    if job is None or (above.action is Action.WAIT and not job.active):
        blocked = above.action is Action.BLOCKED
        verb = "its base has no model:" if blocked else "waits for the model of"
        return Base("blocked" if blocked else "waits", reason=f"{verb} {model.job}: {above.reason}")
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
    spare: Sequence[ObservedJob],
) -> Iterator[Change]:
    """Active jobs beside the one that counts: second ones of its revision, and those of other revisions."""
    for job in spare:
        if job.name not in specs or not job.active:
            continue
        spec, current = specs[job.name], bound[job.name]
        if situation(job) is Situation.UNKNOWN:
            yield _change(job, Action.NONE, f"status {job.status!r} is not known here: left alone")
        elif current and job.revision == current.revision:
            yield _second(spec, current, job)
        else:
            yield from _predecessor(spec, current, decisions[job.name], job)


def _second(spec: Desired, current: ObservedJob, job: ObservedJob) -> Change:
    """Another active job of the revision: paid for twice, so one is enough."""
    twice = f"a second job of revision {short(job.revision)}: {current.id} counts"
    if spec.protect:
        return _change(job, Action.BLOCKED, f"protect: true: {twice}, but this one is {job.status}")
    return _change(job, Action.CANCEL, twice)


def _stands(job: ObservedJob) -> bool:
    """Whether a job is worth giving up another for: it goes on, or has its model."""
    return job.active or job.status == "succeeded"


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
    elif current and _stands(current):
        yield _change(job, Action.CANCEL, f"{then}: {current.id}")


def _prunes(orphans: Iterable[ObservedJob], options: Options) -> Iterator[Change]:
    for job in orphans:
        if job.active and options.partial:
            yield _change(job, Action.NONE, "no spec here names it: left alone, since these paths are not all specs")
        elif situation(job) is Situation.UNKNOWN:
            yield _change(job, Action.NONE, f"no spec; status {job.status!r} is not known here: left alone")
        elif job.active:
            yield _change(job, Action.CANCEL, "no spec names it any more")


def _change(job: ObservedJob, action: Action, reason: str, *, requires: str | None = None) -> Change:
    return Change(
        job.name, action, reason, job_id=job.id, revision=job.revision, attempt=job.attempt, requires=requires
    )


def _unsafe(prunes: Sequence[Change], observed: Observed, policy: Policy, options: Options) -> Iterator[str]:
    """Say why what is pruned goes too far. ``--allow-empty`` lifts the policy's limit, not one given beside it."""
    pruned = [c for c in prunes if c.action is Action.CANCEL]
    if options.empty and pruned and not options.allow_empty:
        yield (
            f"the paths hold no spec, and {len(pruned)} active jobs are ours: all would be cancelled. "
            "If that is meant, pass --allow-empty."
        )
    elif not options.empty or options.max_prune:
        yield from prune_limit(pruned, len(observed.by_name), options.max_prune or policy.max_prune)
