"""What training does to a job: each function is one transaction that the lease's token guards.

A transaction that finds the lease lost raises LeaseLost; one that finds the job cancelled writes nothing and
returns False, which tells the engine to stop the run. What lets files go for good (a checkpoint follows another, a job
has ended) survives a power cut; of the rest it may take the last moments back.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reconciler.server import documents, files, jobs, lifecycle
from reconciler.server.jobs import JobRow
from reconciler.server.lease import Lease, check
from reconciler.server.store import Store
from reconciler.server.trainers.base import Note, Saved, Step, Trainer, is_reported

_TRAINS = ("running", "paused", "queued")
"""What a job may be whose trainer is at work: until it has stopped, one may be paused, and even resumed."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Writes progress for the holder of a lease."""

    store: Store
    lease: Lease

    def validated(self, job_id: str, *, rows: int, tokens: int, now: float) -> None:
        """The data is good: choose every ``auto`` and queue the job."""
        with self._job(job_id, "validating_files") as (db, job):
            if job is None:
                return
            kind = job.document["method"]["type"]
            given = job.document["method"][kind]["hyperparameters"]
            document = documents.with_hyperparameters(job.document, lifecycle.resolve(kind, given, rows))
            db.execute("UPDATE jobs SET rows = ?, tokens = ? WHERE seq = ?", (rows, tokens, job.seq))
            jobs.update(db, job, **{**document, "status": lifecycle.advance(job.status, "queued")})
            jobs.add_event(db, job.seq, "Files validated, moving job to queued state", now=now)

    def claimed(self, trainer: Trainer) -> None:
        """Make jobs that name no trainer this one's, where it can go on with what was saved of them."""
        with self.store.write(durable=False) as db:
            check(db, self.lease)
            for seq, state in jobs.nobodys(db):
                if trainer.reads(state):
                    jobs.claim(db, seq, trainer.name)

    def left(self, job_id: str, trainer: str | None, now: float) -> None:
        """Say, once, that a job waits for another trainer."""
        with self._job(job_id, "validating_files", "queued", "running") as (db, job):
            words = f"This job waits for a server {fit_for(trainer)}."
            if job is not None and not jobs.has_event(db, job.seq, words):
                jobs.add_event(db, job.seq, words, now=now, level="warn")

    def started(self, job_id: str, trainer: str, now: float) -> JobRow | None:
        """Make a queued job run, or go on with one that ran when its process ended; None if it must not run."""
        with self._job(job_id, "queued", "running") as (db, job):
            if job is not None:
                jobs.claim(db, job.seq, trainer)
            if job is not None and job.status == "queued":
                jobs.update(db, job, status=lifecycle.advance(job.status, "running"))
                words = "Fine-tuning job resumed" if job.state else "Fine-tuning job started"
                jobs.add_event(db, job.seq, words, now=now)
                return jobs.get(db, job_id)
            return job

    def noted(self, job_id: str, note: Note, now: float) -> bool:
        """Pass a trainer's words on, once: a run that starts again says them again."""
        with self._job(job_id, *_TRAINS) as (db, job):
            if job is not None and not jobs.has_event(db, job.seq, note.message):
                jobs.add_event(db, job.seq, note.message, now=now)
            return job is not None and job.status == "running"

    def stepped(self, job_id: str, step: Step, *, now: float, finish: float | None) -> bool:
        """Record a step's numbers, once; ``finish`` is a new estimate of when training ends, None for none."""
        with self._job(job_id, *_TRAINS) as (db, job):
            if job is None:
                return False
            if step.step > job.step and (is_reported(step.step, step.total_steps) or step.validated):
                words = f"Step {step.step}/{step.total_steps}"
                loss = step.metrics.get("train_loss")
                words += f": training loss={loss:z.4f}" if loss is not None else ""
                data = {"step": step.step, "total_steps": step.total_steps, **step.metrics}
                jobs.add_event(db, job.seq, words, now=now, data=data)
                db.execute("UPDATE jobs SET step = ? WHERE seq = ?", (step.step, job.seq))
            if finish is not None and job.status == "running":
                jobs.update(db, job, estimated_finish=int(finish))
            return job.status == "running"

    def saved(self, job_id: str, saved: Saved, *, now: float) -> bool:
        """Keep what training goes on from; the end of an epoch, or a pause, makes a checkpoint that is listed."""
        with self._job(job_id, *_TRAINS, durable=True) as (db, job):
            if job is None:
                return False
            db.execute("UPDATE jobs SET state = ? WHERE seq = ?", (saved.state, job.seq))
            jobs.drop_passed(db, job.seq, saved.step)
            pausing = saved.epoch is None and job.status != "running"
            if (saved.epoch is not None or pausing) and saved.step > 0:
                self._checkpoint(db, job, saved, now=now, temporary=pausing)
            return job.status == "running"

    def _checkpoint(self, db: sqlite3.Connection, job: JobRow, saved: Saved, *, now: float, temporary: bool) -> None:
        checkpoint = documents.checkpoint(
            job_id=job.id, model=output_model(job), step=saved.step, created_at=int(now), metrics=saved.metrics
        )
        if jobs.add_checkpoint(db, job.seq, checkpoint, temporary=temporary):
            name = checkpoint["fine_tuned_model_checkpoint"]
            jobs.add_event(db, job.seq, f"Checkpoint created at step {saved.step} with model name: {name}", now=now)

    def succeeded(self, job_id: str, results: files.Stored, *, tokens: int | None, now: float) -> bool:
        """The model is made: show it, with the file of its step metrics.

        ``tokens`` it learnt from; None takes the estimate of when its data was checked.
        """
        with self._job(job_id, "running", durable=True) as (db, job):
            if job is None:
                return False
            model = output_model(job)
            epochs = int(job.document["hyperparameters"]["n_epochs"])
            files.insert(db, results)
            document = documents.model(model, created=int(now), owned_by="org-local")
            db.execute("INSERT OR REPLACE INTO models VALUES (?, ?)", (model, documents.dump(document)))
            jobs.add_event(db, job.seq, f"New fine-tuned model created: {model}", now=now)
            jobs.add_event(db, job.seq, "The job has successfully completed", now=now)
            jobs.update(
                db,
                job,
                status=lifecycle.advance(job.status, "succeeded"),
                fine_tuned_model=model,
                finished_at=int(now),
                estimated_finish=None,
                trained_tokens=job.tokens * epochs if tokens is None else tokens,
                result_files=[results.document["id"]],
            )
            return True

    def failed(self, job_id: str, error: dict[str, Any], *, now: float) -> None:
        """The job ends without a model; ``error`` has code, message and param."""
        with self._job(job_id, "validating_files", "queued", "running", durable=True) as (db, job):
            if job is not None:
                jobs.add_event(db, job.seq, f"The job failed: {error['message']}", now=now, level="error")
                jobs.update(
                    db,
                    job,
                    status=lifecycle.advance(job.status, "failed"),
                    finished_at=int(now),
                    estimated_finish=None,
                    error=error,
                )

    @contextlib.contextmanager
    def _job(
        self, job_id: str, *statuses: str, durable: bool = False
    ) -> Iterator[tuple[sqlite3.Connection, JobRow | None]]:
        """Open a guarded transaction with the job, or None where it has left these statuses."""
        with self.store.write(durable=durable) as db:
            check(db, self.lease)
            job = jobs.get(db, job_id)
            yield db, job if job is not None and job.status in statuses else None


def fit_for(trainer: str | None) -> str:
    """Say which server can train a job, after the word: by its trainer's name, None for one that is not known."""
    return f"that trains with {trainer}" if trainer else "with the trainer that began it"


def output_model(job: JobRow) -> str:
    """Name the model that a job makes."""
    document = job.document
    return lifecycle.model_name(document["model"], document["user_provided_suffix"], job.id)
