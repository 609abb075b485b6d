"""A watch as its dashboard shows it: what specs want and have, what comes next and why, and what was done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reconciler.api.client import Client
from reconciler.errors import SpecError, UsageError
from reconciler.observe.state import Observed, ObservedJob
from reconciler.plan.model import Change, Plan
from reconciler.plan.planner import bind
from reconciler.report.plan_json import change_json
from reconciler.spec import documents
from reconciler.spec.desired import Desired, State, Upstream
from reconciler.ui.source import Details, Document, Events, Listing, Query, Run, Verb
from reconciler.watch.asking import Asking
from reconciler.watch.engine import Seen, Watch
from reconciler.watch.history import History
from reconciler.watch.jobs import Jobs, document

_LARGEST_SPEC = 200_000
_STATES: Mapping[str, State] = {"running": "running", "paused": "paused", "cancelled": "cancelled"}
_PULSE = 2.0
"""Seconds after which running jobs are worth another question."""

Rewrite = Callable[[str, State, bool], str]
"""Sets the state of a spec where it is written, if told to; returns the diff."""


class Desk:
    """Shows a watch. ``rewrite`` edits specs; where they cannot be edited, ``fixed`` says why."""

    def __init__(
        self,
        title: str,
        watch: Watch,
        asking: Asking,
        history: History,
        client: Client,
        *,
        rewrite: Rewrite,
        fixed: str = "",
    ) -> None:
        self.title = title
        self._watch, self._asking, self._history = watch, asking, history
        self._rewrite, self._fixed = rewrite, fixed
        self._made: tuple[str, Document] = "", {}
        self._jobs = Jobs(client, lambda: watch.seen.observed if watch.seen else Observed())

    async def version(self) -> str:
        """Tell by the newest look and line; what runs changes by itself."""
        seen = self._watch.seen
        running = seen is not None and any(job.status == "running" for job in seen.observed.jobs)
        beat = int(time.monotonic() / _PULSE) if running else 0
        open_ = len(self._asking.open)
        return f"{self._watch.pulse.looked_at or 0:.3f}.{self._history.count}.{open_}.{beat}"

    async def jobs(self, query: Query) -> Listing:
        """Return jobs of ours."""
        return await self._jobs.listing(query)

    async def job(self, job_id: str) -> Details | None:
        """Return a job of ours."""
        return await self._jobs.details(job_id)

    async def events(self, job_id: str, *, after: str | None, limit: int, steps: bool) -> Events | None:
        """Return the events of a job of ours."""
        return await self._jobs.events(job_id, after=after, limit=limit, steps=steps)

    async def act(self, job_id: str, verb: Verb) -> None:
        """Refuse: jobs follow their specs."""
        raise UsageError(f"{job_id} follows its spec.", hint=f"To {verb} it, change the state of the spec.")

    async def overview(self) -> Document:
        """Return every spec, what waits for approval, and what is wrong; made once for all who look."""
        version = await self.version()
        if self._made[0] != version:
            self._made = version, await self._overview()
        return self._made[1]

    async def _overview(self) -> Document:
        seen = self._watch.seen
        if seen is None:
            return {"looked": False, "failed": self._watch.pulse.failed}
        bound = bind(seen.snapshot.repository.desired, seen.observed)
        progress = await self._jobs.progress(job for job in bound.values() if job)
        changes = {change.name: change for change in reversed(seen.plan.changes)}
        held = {each.change: each.reason for each in seen.held}
        gone = [change for change in seen.plan.changes if change.name not in bound]
        return {
            "looked": True,
            "failed": self._watch.pulse.failed,
            "problems": [*seen.snapshot.problems, *seen.limits, *seen.plan.warnings],
            "fixed": self._fixed,
            "specs": [
                self._row(spec, bound[spec.name], changes.get(spec.name), held, progress)
                for spec in seen.snapshot.repository.desired
            ],
            "gone": [change_json(change) for change in gone],
            "waiting": self._waiting(seen),
        }

    def _row(
        self,
        spec: Desired,
        job: ObservedJob | None,
        change: Change | None,
        held: Mapping[Change, str],
        progress: Mapping[str, Document],
    ) -> dict[str, Any]:
        step = progress.get(job.id, {}) if job else {}
        base = spec.model
        return {
            "name": spec.name,
            "desired": spec.state,
            "model": base if isinstance(base, str) else None,
            "base": base.job if isinstance(base, Upstream) else None,
            "checkpoint": base.checkpoint if isinstance(base, Upstream) else None,
            "revision": spec.revision,
            "source": str(spec.source),
            "job": dict(document(job)) if job else None,
            "step": step.get("step"),
            "total_steps": step.get("total_steps"),
            "loss": step.get("train_loss"),
            "change": {"action": str(change.action), "reason": change.reason} if change else None,
            "held": held.get(change, "") if change else "",
        }

    def _waiting(self, seen: Seen) -> dict[str, Any]:
        """Return the new runs that wait for leave, and what they come to."""
        changes = self._asking.waiting(seen.plan.changes)
        return {
            "changes": [change_json(change) for change in changes],
            "cost": Plan.of("", "", changes).costs,
            "unpriced": sum(change.cost is None for change in changes),
        }

    async def spec(self, name: str) -> Document | None:
        """Return a spec with its text and all its jobs."""
        seen = self._watch.seen
        repository = seen.snapshot.repository if seen else None
        spec = next((each for each in repository.desired if each.name == name), None) if repository else None
        if seen is None or repository is None or spec is None:
            return None
        job = bind(repository.desired, seen.observed)[name]
        change = next((change for change in seen.plan.changes if change.name == name), None)
        progress = await self._jobs.progress([job] if job else [])
        jobs = {each.id: each for each in (*seen.observed.by_name.get(name, ()), *((job,) if job else ()))}
        return {
            **self._row(spec, job, change, {each.change: each.reason for each in seen.held}, progress),
            "change": change_json(change) if change else None,
            "fixed": self._fixed,
            "waits": bool(change and self._asking.waiting([change])),
            "text": await asyncio.to_thread(_text, repository.root / spec.source.file, spec.source.line),
            "jobs": [dict(document(each)) for each in reversed(jobs.values())],
        }

    async def history(self) -> Document:
        """Return what was said and done."""
        return {"lines": [asdict(line) for line in self._history.lines]}

    async def approve(self, runs: Sequence[Run]) -> None:
        """Let runs start, with the next look."""
        if not self._asking.approve(runs):
            raise UsageError("None of these waits for approval any more.", hint="Look at what waits now.")
        self._watch.soon()

    async def edit(self, name: str, state: str, *, write: bool) -> str:
        """Set a spec's state where it is written; the watch follows the file."""
        if self._fixed:
            raise UsageError("The specs cannot be edited here.", hint=self._fixed)
        if state not in _STATES:
            raise UsageError(f"{state!r} is no state of a spec.", hint="running, paused or cancelled")
        diff = await asyncio.to_thread(self._rewrite, name, _STATES[state], write)
        if write:
            self._watch.soon()
        return diff


def _text(path: Path, line: int) -> str:
    """Return the document of a file that a line stands in."""
    try:
        found = documents.read(path.name, documents.read_bytes(str(path), path.name))
    except FileNotFoundError:
        return "# is not there any more\n"
    except SpecError as error:
        return f"# {error}\n"
    text = next((each.text for each in reversed(found) if each.line <= line), "")
    return text[:_LARGEST_SPEC].strip("\n") + "\n"
