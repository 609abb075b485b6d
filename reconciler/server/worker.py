"""One job in training: a thread that runs the trainer and hands what it yields to the ledger."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from reconciler.errors import StoreError
from reconciler.server import files, jobs, lifecycle, results
from reconciler.server.jobs import JobRow
from reconciler.server.lease import LeaseLost
from reconciler.server.progress import Ledger, output_model
from reconciler.server.store import Store, translated
from reconciler.server.trainers.base import (
    Control,
    Note,
    Progress,
    Step,
    Trained,
    Trainer,
    TrainingFailed,
    TrainingRun,
)

log = logging.getLogger(__name__)

_ESTIMATE_EVERY = 1.0


class Worker:
    """Trains one job. ``ended`` is called at the end, with the fault of the database or disk that ended it, if any."""

    def __init__(
        self,
        ledger: Ledger,
        trainer: Trainer,
        job: JobRow,
        clock: Callable[[], float],
        ended: Callable[[StoreError | None], None],
    ) -> None:
        self._ledger = ledger
        self._trainer = trainer
        self._job = job
        self._clock = clock
        self._ended = ended
        self._control = Control()
        self._pace = Pace()
        self._tokens: int | None = None
        self.done = False
        self.thread = threading.Thread(target=self._work, name=job.id, daemon=True)

    def stop(self) -> None:
        """Ask the trainer to save and stop."""
        self._control.stop()

    def drop(self) -> None:
        """Ask the trainer to stop at once: the job was cancelled."""
        self._control.drop()

    def leave(self) -> None:
        """Ask the trainer to save and stop, unless what it trains outlives this process."""
        self._control.leave()

    def _work(self) -> None:
        fault = None
        try:
            self._train()
        except LeaseLost:
            log.info("%s goes on in another process.", self._job.id)
        except StoreError as error:
            log.warning("%s stopped and goes on later: %s", self._job.id, error)
            fault = error
        finally:
            self.done = True
            self._ended(fault)

    def _train(self) -> None:
        try:
            run = self._run()
            with translated(self._ledger.store.directory):
                run.workdir.mkdir(parents=True, exist_ok=True)
            for progress in self._trainer.train(run, self._control):
                if not self._record(progress):
                    self._control.stop()
            if not self._control.stopping:
                self._succeed()
        except (LeaseLost, StoreError):
            raise
        except TrainingFailed as failure:
            self._fail(failure.code, failure.message, failure.param)
        except Exception as error:
            log.exception("The trainer of %s broke.", self._job.id)
            self._fail("server_error", f"The trainer broke: {type(error).__name__}.", None)
        self._tidy()

    def _run(self) -> TrainingRun:
        run = training_run(self._ledger.store, self._job)
        if run.state is None or self._trainer.reads(run.state):
            return run
        self._record(Note("What was saved of this job cannot be read by this server, so its training begins anew."))
        return replace(run, state=None)

    def _record(self, progress: Progress) -> bool:
        """Write what happened; return whether training is to go on."""
        job_id, now = self._job.id, self._clock()
        if isinstance(progress, Trained):
            self._tokens = progress.tokens
            return True
        if isinstance(progress, Note):
            return self._ledger.noted(job_id, progress, now)
        if isinstance(progress, Step):
            return self._ledger.stepped(job_id, progress, now=now, finish=self._pace.finish(progress, now))
        return self._ledger.saved(job_id, progress, now=now)

    def _succeed(self) -> None:
        store, now = self._ledger.store, self._clock()
        with store.read() as db:
            steps = jobs.metrics(db, self._job.seq)
        file = results.write(store, self._job.id, steps, now)
        self._ledger.succeeded(self._job.id, file, tokens=self._tokens, now=now)

    def _fail(self, code: str, message: str, param: str | None) -> None:
        self._ledger.failed(self._job.id, {"code": code, "message": message, "param": param}, now=self._clock())

    def _tidy(self) -> None:
        """Remove the working directory of a job that will not go on."""
        with self._ledger.store.read() as db:
            job = jobs.get(db, self._job.id)
        if job is not None and lifecycle.is_final(job.status):
            shutil.rmtree(workdir(self._ledger.store, job.id), ignore_errors=True)


class Pace:
    """Estimates when a run ends from how fast its steps come, or came: some are heard of later, and all at once."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._first: tuple[int, float] | None = None
        self._said = 0.0

    def finish(self, step: Step, now: float) -> float | None:
        """Return the Unix time at which training should end; None too soon after the last answer, or to know."""
        passed = self._monotonic()
        at = passed if step.at is None else step.at
        if self._first is None:
            self._first = (step.step, at)
            return None
        if passed < self._said + _ESTIMATE_EVERY:
            return None
        self._said = passed
        first, began = self._first
        return now + (step.total_steps - step.step) * max(0.0, at - began) / max(1, step.step - first)


def workdir(store: Store, job_id: str) -> Path:
    """Where a trainer may keep what it needs until the job ends."""
    return store.directory / "work" / job_id


def training_run(store: Store, job: JobRow) -> TrainingRun:
    """Gather all that training depends on.

    Raises:
        TrainingFailed: a data file has been deleted.
    """
    document = job.document
    kind = document["method"]["type"]
    settings = document["method"][kind]
    training, validation = document["training_file"], document["validation_file"]
    return TrainingRun(
        job_id=job.id,
        model=document["model"],
        output_model=output_model(job),
        method=kind,
        hyperparameters=settings["hyperparameters"],
        settings={name: value for name, value in settings.items() if name != "hyperparameters"},
        seed=document["seed"],
        training_file=files.path(store, training),
        training_sha256=_digest(store, training, "training_file"),
        validation_file=files.path(store, validation) if validation else None,
        validation_sha256=_digest(store, validation, "validation_file") if validation else "",
        rows=job.rows,
        tokens=job.tokens,
        workdir=workdir(store, job.id),
        state=job.state,
        integrations=document["integrations"],
        metadata=document["metadata"] or {},
        created_at=document["created_at"],
    )


def _digest(store: Store, file_id: str, param: str) -> str:
    with store.read() as db:
        digest = files.sha256(db, file_id)
    if digest is None:
        raise TrainingFailed("file_not_found", f"{param} {file_id} no longer exists.", param)
    return digest
