"""A fine-tuning server as a value: jobs that live in virtual time, files, and what requests do to them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

STEPS = (30, 20, 10)
ENDED = ("succeeded", "failed", "cancelled")
TRANSIENT, LASTING = "server_error", "invalid_training_data"
ODD = "under_review"
"""A status that no client knows."""


class Refused(Exception):
    """A request that cannot be done: an HTTP status, a code and words."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True)
class Quirks:
    """How one server differs from another, as long as it stands. Times are in seconds.

    ``lag`` bounds how late a listing shows a job, and where it is ``stale`` also a job's status; ``skew`` is by how
    much its clock is ahead. ``no_pause`` is the status of its answer to pause and resume, None where it can;
    ``no_permissions`` says that our key may not ask who uses a model. A server that ``guards_files`` deletes none that
    an unfinished job uses.
    """

    lag: float = 5.0
    stale: bool = False
    skew: float = 0.0
    page: int = 100
    filters: bool = True
    tells_time: bool = True
    no_pause: int | None = None
    forgets_cursors: bool = False
    never_processes: bool = False
    no_permissions: bool = False
    guards_files: bool = False


@dataclass(frozen=True)
class Course:
    """What becomes of a job that is left alone: seconds in the queue, in training, under review, and its end."""

    queued: float
    trains: float
    review: float = 0.0
    code: str | None = None
    """The error it fails with; None where it succeeds."""


@dataclass
class LiveJob:
    """A job on the server. ``made`` and ``since`` are virtual seconds; ``shown`` is when listings begin to have it."""

    id: str
    number: int
    body: Mapping[str, Any]
    made: float
    shown: float
    created_at: int
    course: Course
    status: str = "validating_files"
    since: float = 0.0
    trained: float = 0.0
    ended: float | None = None
    history: list[tuple[float, str]] = field(default_factory=list)

    @property
    def metadata(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.body.get("metadata") or {}
        return found

    @property
    def live(self) -> bool:
        return self.status not in ENDED

    @property
    def uses(self) -> frozenset[str]:
        """The file and the model it trains on."""
        return frozenset((self.body["training_file"], self.body["model"]))

    @property
    def model(self) -> str:
        """What its model is called, once it has one."""
        return f"ft:{self.body['model']}:org::{self.number}"

    @property
    def saved(self) -> tuple[str, ...]:
        """What the models on the way are called."""
        return tuple(f"ft:m:org::{self.number}:ckpt-step-{step}" for step in STEPS)

    def advance(self, now: float) -> None:
        """Let everything happen that was due by now."""
        while (due := self._due()) and due[0] <= now:
            self.become(due[1], due[0])

    def become(self, status: str, now: float) -> None:
        if self.status == "running":
            self.trained += now - self.since
        self.history.append((now, self.status))
        self.status, self.since = status, now
        if status in ENDED:
            self.ended = now

    def _due(self) -> tuple[float, str] | None:
        course = self.course
        match self.status:
            case "validating_files" | "resuming":
                return self.since + 1, "queued"
            case "queued":
                return self.since + course.queued, "running"
            case "running":
                end = self.since + max(0.0, course.trains - self.trained)
                return end, ODD if course.review else self._end
            case "under_review":
                return self.since + course.review, self._end
            case "pausing":
                return self.since + 1.5, "paused"
        return None

    @property
    def _end(self) -> str:
        return "failed" if self.course.code else "succeeded"

    def status_at(self, moment: float) -> str:
        """What its status was; before it was made, its first."""
        return next((status for until, status in self.history if moment < until), self.status)

    def document(self, moment: float = math.inf) -> dict[str, Any]:
        """Say it as the API does, as it was at a moment."""
        status = self.status_at(moment)
        done = status == "succeeded"
        return {
            "id": self.id,
            "object": "fine_tuning.job",
            "created_at": self.created_at,
            "model": self.body["model"],
            "fine_tuned_model": self.model if done else None,
            "status": status,
            "training_file": self.body["training_file"],
            "validation_file": self.body.get("validation_file"),
            "seed": self.body.get("seed"),
            "method": self.body.get("method"),
            "metadata": dict(self.metadata),
            "error": {"code": self.course.code, "message": "it broke"} if status == "failed" else {},
            "shared_with_openai": False,
        }


@dataclass
class Server:
    """All that one server holds. ``course`` draws what becomes of the next job, ``late`` how late it is shown."""

    quirks: Quirks
    clock: Callable[[], float]
    course: Callable[[], Course]
    late: Callable[[], float]
    jobs: dict[str, LiveJob] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    files_made: int = 0
    gone: set[str] = field(default_factory=set)
    permissions: dict[str, dict[str, Any]] = field(default_factory=dict)
    permissions_made: int = 0

    EPOCH = 1_700_000_000

    @property
    def unix(self) -> int:
        """Its own clock, in whole seconds."""
        return int(self.EPOCH + self.clock() + self.quirks.skew)

    def job(self, job_id: str) -> LiveJob:
        if job_id not in self.jobs:
            raise Refused(404, "not_found", "No such job.")
        job = self.jobs[job_id]
        job.advance(self.clock())
        return job

    def all_jobs(self) -> list[LiveJob]:
        """Every job, oldest first."""
        return [self.job(i) for i in self.jobs]

    def create(self, body: Mapping[str, Any], *, at_once: bool = False) -> LiveJob:
        """Make a job; ``at_once`` shows it in the very next listing."""
        if body["training_file"] not in self.files:
            raise Refused(400, "file_not_found", f"No such file: {body['training_file']}.")
        now, number = self.clock(), len(self.jobs) + 1
        job_id = f"ftjob-{hashlib.sha256(str(number).encode()).hexdigest()[:6]}{number}"
        shown = now if at_once else now + self.late() * self.quirks.lag
        job = LiveJob(job_id, number, body, now, shown, self.unix, self.course(), since=now)
        self.jobs[job_id] = job
        return job

    def change(self, job_id: str, verb: str) -> LiveJob:
        """Cancel, pause or resume."""
        if verb != "cancel" and self.quirks.no_pause:
            raise Refused(self.quirks.no_pause, "unsupported", f"No {verb} here.")
        job = self.job(job_id)
        fits = job.live if verb == "cancel" else job.status == {"pause": "running", "resume": "paused"}[verb]
        if not fits:
            raise Refused(400, "invalid_state", f"Cannot {verb} a job that is {job.status}.")
        job.become({"cancel": "cancelled", "pause": "pausing", "resume": "resuming"}[verb], self.clock())
        return job

    def listing(self, after: str | None, limit: int, wanted: Mapping[str, str], shift: int = 0) -> dict[str, Any]:
        """Return a page, newest first; ``shift`` is by how many rows its start is wrong."""
        now = self.clock()
        rows = [j for j in reversed(self.all_jobs()) if j.shown <= now and wanted.items() <= j.metadata.items()]
        start = 0
        if after is not None:
            known = [n for n, j in enumerate(rows) if j.id == after]
            if not known and not self.quirks.forgets_cursors:
                raise Refused(400, "invalid_cursor", f"No job {after}.")
            start = max(0, known[0] + 1 + shift) if known else len(rows)
        seen = now - self.late() * self.quirks.lag if self.quirks.stale else now
        page = rows[start : start + min(limit, self.quirks.page)]
        more = start + len(page) < len(rows)
        return {"object": "list", "data": [j.document(seen) for j in page], "has_more": more}

    def checkpoints(self, job_id: str) -> dict[str, Any]:
        job = self.job(job_id)
        rows = [
            {
                "id": f"ftckpt_{job.number}_{step}",
                "created_at": job.created_at + step,
                "fine_tuned_model_checkpoint": saved,
                "step_number": step,
                "metrics": {"step": step, "train_loss": 2.0 / step, "full_valid_loss": 1.0 + (step - 20) ** 2},
            }
            for step, saved in zip(STEPS, job.saved, strict=True)
        ]
        return {"object": "list", "data": rows if job.status == "succeeded" else [], "has_more": False}

    def store(self, name: str, content: bytes) -> dict[str, Any]:
        self.files_made += 1
        file_id = f"file-{self.files_made}"
        self.files[file_id] = {
            "id": file_id,
            "object": "file",
            "bytes": len(content),
            "created_at": self.unix,
            "filename": name,
            "purpose": "fine-tune",
            "status": "uploaded",
        }
        return self.file(file_id)

    def file(self, file_id: str) -> dict[str, Any]:
        if file_id not in self.files:
            raise Refused(404, "not_found", "No such file.")
        file = self.files[file_id]
        if not self.quirks.never_processes and self.unix - file["created_at"] >= 2:
            file["status"] = "processed"
        return dict(file)

    def delete_file(self, file_id: str) -> dict[str, Any]:
        self.file(file_id)
        if self.quirks.guards_files and any(job.live and file_id in job.uses for job in self.all_jobs()):
            raise Refused(409, "file_in_use", "A job needs it.")
        del self.files[file_id]
        return {"id": file_id, "object": "file", "deleted": True}

    def maker(self, model: str) -> LiveJob:
        """Return the job that made a model, or one on the way to it."""
        for job in self.all_jobs():
            if job.status == "succeeded" and model in (job.model, *job.saved) and model not in self.gone:
                return job
        raise Refused(404, "model_not_found", f"No model {model}.")

    def model(self, model: str) -> dict[str, Any]:
        return {"id": model, "object": "model", "created": self.maker(model).created_at, "owned_by": "org"}

    def delete_model(self, model: str) -> dict[str, Any]:
        self.maker(model)
        self.gone.add(model)
        return {"id": model, "object": "model", "deleted": True}

    def access(self, model: str) -> dict[str, Any]:
        """List who may use a model."""
        self.maker(model)
        rows = [row for row in self.permissions.values() if row["model"] == model]
        return {"object": "list", "data": rows, "has_more": False}

    def projects(self, model: str) -> set[str]:
        """Return who may use a model."""
        return {row["project_id"] for row in self.permissions.values() if row["model"] == model}

    def grant(self, model: str, projects: Sequence[str]) -> dict[str, Any]:
        """Let projects use a model; one that may already is not let in twice."""
        self.maker(model)
        for project in projects:
            if project not in self.projects(model):
                self.permissions_made += 1
                cp_id = f"cp_{self.permissions_made}"
                row = {"id": cp_id, "object": "checkpoint.permission", "created_at": self.unix, "project_id": project}
                self.permissions[cp_id] = {**row, "model": model}
        return self.access(model)

    def revoke(self, model: str, permission_id: str) -> dict[str, Any]:
        if self.permissions.get(permission_id, {}).get("model") != model:
            raise Refused(404, "not_found", "No such permission.")
        del self.permissions[permission_id]
        return {"id": permission_id, "object": "checkpoint.permission", "deleted": True}
