"""What a watch says: each thing once, when it becomes so, and again when it no longer is. All else is silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self, TypeVar

from reconciler.apply.model import Outcome
from reconciler.apply.permissions import Granted
from reconciler.errors import ReconcilerError
from reconciler.observe.state import Observed, ObservedJob
from reconciler.plan.drift import Drift
from reconciler.plan.model import Action, Plan
from reconciler.report.fault import messages
from reconciler.report.figures import size
from reconciler.watch.restraint import Held
from reconciler.watch.snapshot import Snapshot

T = TypeVar("T")
Write = Callable[[str, str, Mapping[str, Any]], None]
"""Takes a message, its level (info, warning, error) and the fields of its JSON line."""

_DONE = {Action.CREATE: "created", Action.RESUME: "resumed", Action.PAUSE: "paused", Action.CANCEL: "cancelled"}
_SILENT = frozenset({"approval", "failed", "max-create"})
_AT_ONCE = 20
"""How many lines of one kind are said of one look; the others are counted."""


class Voice:
    """Turns what a watch sees and does into lines; it is told what applying does, too."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._topics: dict[str, str] = {}
        self._statuses: dict[str, str] | None = None
        self._stuck: dict[str, str] = {}
        self._drift: dict[str, Drift] | None = None
        self._held: dict[str, str] = {}
        self._undone: dict[str, str] = {}
        self._failure: type[ReconcilerError] | None = None
        self._uploading: set[str] = set()

    def say(self, message: str, level: str = "info", /, **fields: object) -> None:
        """Say one thing."""
        self._write(message, level, {key: value for key, value in fields.items() if value is not None})

    def topic(self, topic: str, message: str, level: str = "warning", *, over: str = "") -> None:
        """Say how a matter stands, unless it stands so already; an empty message ends it, with the words ``over``."""
        if message == self._topics.get(topic, ""):
            return
        if message:
            self._topics[topic] = message
            self.say(message, level, event=topic)
        else:
            del self._topics[topic]
            self.say(over, event=topic)

    # What is read

    def specs(self, snapshot: Snapshot) -> None:
        """Say what is wrong with files, what is new of it, and that all is well again."""
        known = {topic for topic in self._topics if topic.startswith("specs ")}
        now = {f"specs {problem}": problem for problem in snapshot.problems}
        for topic, problem in now.items():
            self.topic(topic, problem, "error")
        for topic in known - now.keys():
            del self._topics[topic]
        if known and not now:
            self.say("All specs are good again.", event="specs")
        lost = [why for why in snapshot.unsure if why not in snapshot.problems]
        if snapshot.again is None:  # what is over in a moment is not worth a word
            self.topic("unsure", "; ".join(lost), over="No directory is missing any more.")
        if snapshot.at:
            self.topic("version", snapshot.at, "info")
        for note in snapshot.notes:
            self.topic(f"note {note}", note)

    def limits(self, unsafe: Iterable[str], warnings: Iterable[str]) -> None:
        """Say what policy forbids, and what a plan warns of."""
        said = "; ".join(" ".join(why.split()) for why in unsafe)
        self.topic("limits", f"Left undone: {said}" if said else "", over="Within all limits again.")
        for warning in warnings:
            self.topic(f"warning {warning}", warning)

    def newer(self, names: Iterable[str]) -> None:
        """Say for which names other specs than those of the start have started jobs."""
        for name in sorted(names):
            words = f"Newer specs have started {name}: left alone. Start this watch again to follow them."
            self.topic(f"newer {name}", words)

    def failure(self, error: ReconcilerError, pause: float) -> None:
        """Say that the server could not be read; again only where it fails in another way."""
        if type(error) is not self._failure:
            self._failure = type(error)
            lines = "; ".join(messages(error))
            self.say(f"{lines} Going on trying, at least every {pause:.0f} s.", "error", event="server")

    def recovered(self) -> None:
        """Say that the server answers, if it did not."""
        if self._failure is not None:
            self._failure = None
            self.say("The server answers again.", event="server")

    def jobs(self, observed: Observed) -> bool:
        """Say which jobs stand otherwise than before, and return whether any does; at first, only count them."""
        before, now = self._statuses, {job.id: job.status for job in observed.jobs}
        self._statuses = now
        if before is None:
            counts = ", ".join(f"{count} {status}" for status, count in sorted(Counter(now.values()).items()))
            self.say(f"{len(now)} jobs are ours{f': {counts}' if counts else ''}.", event="jobs")
            return False
        moved = [job for job in observed.jobs if before.get(job.id) != job.status]
        self._some("jobs stand otherwise", moved, self._moved)
        return bool(moved)

    def _moved(self, job: ObservedJob) -> None:
        if job.status == "succeeded":
            words = f": {job.fine_tuned_model}" if job.fine_tuned_model else ""
        else:
            words = f": {job.error_message}" if job.status == "failed" and job.error_message else ""
        level = "warning" if job.status == "failed" else "info"
        about = {"event": "job", "spec": job.name, "job": job.id, "outcome": job.status}
        self.say(f"{job.name}: {job.status}{words} ({job.id})", level, **about)

    def stuck(self, plan: Plan) -> None:
        """Say which specs wait or are blocked, and why, and which no longer are."""
        kinds = (Action.BLOCKED, Action.WAIT, Action.HOLD)
        now = {change.name: change for change in plan.changes if change.action in kinds}
        # How long something waits changes all the time; that it does is what is said.
        states = {name: c.reason if c.action is Action.BLOCKED else str(c.action) for name, c in now.items()}
        fresh = [name for name, state in states.items() if self._stuck.get(name) != state]
        self._stuck = states

        def one(name: str) -> None:
            change = now[name]
            level, verb = ("warning", "is blocked") if change.action is Action.BLOCKED else ("info", str(change.action))
            words = f"{name} {verb}: {change.reason}" if level == "warning" else f"{name}: {change.reason}"
            self.say(words, level, event=str(change.action), spec=name, job=change.job_id, reason=change.reason)

        self._some("specs wait or are blocked", fresh, one)

    def drift(self, drift: Sequence[Drift]) -> None:
        """Say what has drifted, and what no longer does."""
        before, now = self._drift, {each.job_id: each for each in drift}
        self._drift = now
        for job_id, each in now.items():
            if (before or {}).get(job_id) != each:
                name = each.name or job_id
                self.say(
                    f"drift: {name} {each.reason} ({job_id})", "warning", event="drift", spec=each.name, job=job_id
                )
        for job_id, each in (before or {}).items():
            if job_id not in now:
                self.say(
                    f"drift of {each.name or job_id} is over ({job_id})", event="drift", spec=each.name, job=job_id
                )
        if before is None and not drift:
            self.say("No drift.", event="drift")

    # What is done, and what is not

    def held(self, held: Sequence[Held]) -> None:
        """Say what is held back, unless it is done later by itself, or asked about."""
        now = {f"{h.change.action} {h.change.name} {h.change.revision}": h for h in held if h.kind not in _SILENT}
        fresh = [h for key, h in now.items() if self._held.get(key) != h.kind]
        self._held = {key: h.kind for key, h in now.items()}
        for kind in dict.fromkeys(h.kind for h in fresh):
            mine = [h for h in fresh if h.kind == kind]
            verb = "Cancelling" if mine[0].change.action is Action.CANCEL else "A run of"
            names = some(h.change.name for h in mine)
            self.say(f"{verb} {names}: {mine[0].reason}.", "warning", event=kind)

    def outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """Say what was done, and what was not: that again only once it is for another reason."""
        for outcome in outcomes:
            change, job, error = outcome.change, outcome.job_id or outcome.change.job_id, outcome.error
            about: dict[str, object] = {"spec": change.name, "job": job, "outcome": outcome.result}
            what = f"{change.action} {change.name}"
            why = error.message if error else outcome.detail  # a request's id differs each time
            if outcome.result == "done":
                self._undone.pop(what, None)
                words = f"{_DONE[change.action]} {change.name}: {outcome.detail or change.reason} ({job})"
                about |= {"reason": change.reason, "request_id": outcome.request_id}
                self.say(words, "info", event=str(change.action), **about)
            elif self._undone.get(what) != why:
                self._undone[what] = why
                words = f"{what} {outcome.result}: {'; '.join(messages(error)) if error else why}"
                level = "error" if outcome.result == "failed" else "warning"
                self.say(words, level, event=str(change.action), **about)

    def granted(self, granted: Sequence[Granted]) -> None:
        """Say what was done about permissions."""
        for each in granted:
            why = "; ".join(messages(each.error)) if each.error else each.detail
            words = f"permissions of {each.access.name}: {each.result}{f': {why}' if why else ''}"
            self.topic(f"permissions {each.access.name}", "" if each.result == "done" else words, over=words)
            if each.result == "done":
                self.say(words, event="permissions", spec=each.access.name)

    def __enter__(self) -> Self:
        """Be a command's progress: there is nothing to open."""
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to close."""

    def job(
        self,
        name: str,
        status: str,
        step: int | None = None,
        total: int | None = None,
        loss: float | None = None,
        eta: float | None = None,
    ) -> None:
        """Hear where a job stands that is being made; the next look says it."""

    def note(self, text: str) -> None:
        """Say what applying has to say."""
        self.say(text, event="note")

    def upload(self, path: str, sent: int, total: int) -> None:
        """Say that an upload begins, and that it has ended."""
        if path not in self._uploading:
            self._uploading.add(path)
            self.say(f"uploading {path} ({size(total)})", event="upload")
        if sent >= total:
            self._uploading.discard(path)
            self.say(f"uploaded {path}", event="upload")

    def _some(self, kind: str, items: Sequence[T], one: Callable[[T], None]) -> None:
        for item in items[:_AT_ONCE]:
            one(item)
        if len(items) > _AT_ONCE:
            self.say(f"... and {len(items) - _AT_ONCE} more {kind}")


def some(names: Iterable[str]) -> str:
    """Return names for a sentence, the first ones."""
    every = sorted(set(names))
    more = len(every) - _AT_ONCE
    return ", ".join(every[:_AT_ONCE]) + (f" and {more} more" if more > 0 else "")
