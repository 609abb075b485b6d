"""The engine: takes the jobs that wait, checks their data, trains them, records what happens.

It works in threads of its own, so that neither SQLite nor a trainer holds up the event loop. Of all processes on one
directory only the holder of the lease works; the others look at intervals whether they are to take over.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from reconciler.errors import StoreError
from reconciler.server import checking, files, jobs, lease, leftovers, parts, webhooks
from reconciler.server.lease import LeaseLost
from reconciler.server.progress import Ledger, fit_for
from reconciler.server.store import Store
from reconciler.server.trainers.base import Trainer
from reconciler.server.worker import Worker

log = logging.getLogger(__name__)

TICK_SECONDS = 0.25
"""How often the engine looks for what other processes have asked for."""
_RENEW_EVERY = lease.SECONDS / 4
_SWEEP_EVERY = 3600.0
_LOOK_ROUND_EVERY = 10.0
_AFTER_A_FAULT = 1.0
_CHECKED_AT_ONCE = 50


class Engine:
    """Trains the jobs of a store that are ``trainer``'s, up to ``concurrency`` at once. ``clock`` gives Unix seconds.

    Jobs of other trainers wait for a server that has theirs.
    """

    def __init__(
        self, store: Store, trainer: Trainer, *, concurrency: int = 4, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self.trainer = trainer
        self._concurrency = min(concurrency, trainer.places or concurrency)
        self._clock = clock
        self._holder = lease.new_holder()
        self._ledger: Ledger | None = None
        self._workers: dict[str, Worker] = {}
        self._checker: threading.Thread | None = None
        self._scheduler = threading.Thread(target=self._schedule, name="engine", daemon=True)
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._due: dict[str, float] = {}
        self._left: set[str] = set()

    def start(self) -> None:
        """Begin to work; returns at once."""
        self._scheduler.start()

    def stop(self, patience: float = 10.0) -> None:
        """End all work so that another process can go on with it, within ``patience`` seconds.

        Trainers save where they are; jobs keep their status. A trainer that does not stop in time loses what it did
        since its last checkpoint.
        """
        deadline = time.monotonic() + patience
        self._stop.set()
        self._wake.set()
        self._scheduler.join(patience)
        for worker in self._workers.values():
            worker.leave()
        for thread in [self._checker, *(worker.thread for worker in self._workers.values())]:
            if thread is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        if self._ledger is not None:
            try:
                with self._store.write() as db:
                    lease.release(db, self._ledger.lease)
            except StoreError as error:
                log.warning("The lease was not released and runs out by itself: %s", error)

    def wake(self) -> None:
        """Look for work now: something was asked for."""
        self._wake.set()

    @property
    def alive(self) -> bool:
        """Whether the engine works, or waits for its turn."""
        return self._scheduler.is_alive()

    @property
    def training(self) -> bool:
        """Whether this is the process that trains."""
        return self._ledger is not None

    def _schedule(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                self._tick()
            except LeaseLost:
                self._let_go()
            except StoreError as error:
                log.warning("The engine waits for its database: %s", error)
                self._stop.wait(_AFTER_A_FAULT)
            except Exception:
                log.exception("The engine goes on after a fault.")
                self._stop.wait(_AFTER_A_FAULT)
            self._wake.wait(TICK_SECONDS)

    def _tick(self) -> None:
        ledger = self._hold()
        if ledger is None:
            return
        if self._is_due("sweep", _SWEEP_EVERY):
            parts.sweep(self._store, self._clock())
            files.sweep(self._store, self._clock())
            webhooks.sweep(self._store, self._clock())
            left = (self._store, self.trainer, set(self._workers))
            threading.Thread(target=leftovers.sweep, args=left, daemon=True).start()
        if self._is_due("look round", _LOOK_ROUND_EVERY):
            self._say_what_is_left(ledger)
        self._start_checking(ledger)
        self._stop_unwanted()
        self._start_waiting(ledger)

    def _hold(self) -> Ledger | None:
        """Take the lease, or keep it."""
        if self._ledger is None:
            with self._store.read() as db:
                free = lease.is_free(db, self._clock())
            if free:
                with self._store.write() as db:
                    taken = lease.take(db, self._holder, self._clock())
                if taken:
                    self._ledger = self._begin(taken)
        elif self._is_due("renew", _RENEW_EVERY):
            with self._store.write(durable=False) as db:
                lease.renew(db, self._ledger.lease, self._clock())
        return self._ledger

    def _begin(self, taken: lease.Lease) -> Ledger:
        """Settle what other processes left, before anything trains. Where that fails, the lease goes back."""
        ledger = Ledger(self._store, taken)
        try:
            ledger.claimed(self.trainer)
            with self._store.read() as db:
                wanted = jobs.by_status(db, "running")
            self.trainer.keep_only(wanted)
        except Exception:
            with self._store.write() as db:
                lease.release(db, taken)
            raise
        return ledger

    def _let_go(self) -> None:
        """Another process trains now. What our workers still do is refused by the ledger."""
        self._ledger = None
        for worker in self._workers.values():
            worker.leave()

    def _is_due(self, what: str, every: float) -> bool:
        now = time.monotonic()
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + every
        return True

    def _stop_unwanted(self) -> None:
        """Stop the trainers of jobs that were cancelled or paused, here or by another process."""
        self._workers = {job_id: worker for job_id, worker in self._workers.items() if not worker.done}
        with self._store.read() as db:
            wanted = set(jobs.by_status(db, "running"))
            ended = {job_id for job_id in self._workers if job_id not in wanted and jobs.has_ended(db, job_id)}
        for job_id, worker in self._workers.items():
            if job_id in ended:
                worker.drop()
            elif job_id not in wanted:
                worker.stop()

    def _say_what_is_left(self, ledger: Ledger) -> None:
        """Leave jobs of other trainers alone, and say so once of each."""
        with self._store.read() as db:
            left = jobs.left(db, self.trainer.name)
        for job_id, trainer in left.items():
            if job_id not in self._left:
                ledger.left(job_id, trainer, self._clock())
                log.warning("%s waits for a server %s.", job_id, fit_for(trainer))
        self._left = set(left)

    def _start_waiting(self, ledger: Ledger) -> None:
        """Give free places to jobs: first those that ran when their process ended, then the queue."""
        if len(self._workers) >= self._concurrency or not self._is_due("start", 0.0):
            return
        with self._store.read() as db:
            mine = self.trainer.name
            waiting = jobs.taken(db, "running", mine) + jobs.queue(db, mine, 2 * self._concurrency)
        for job_id in waiting:
            if len(self._workers) >= self._concurrency or self._stop.is_set():
                return
            if job_id not in self._workers and (job := ledger.started(job_id, mine, self._clock())):
                worker = Worker(ledger, self.trainer, job, self._clock, self._ended)
                worker.thread.start()
                self._workers[job_id] = worker

    def _ended(self, fault: StoreError | None) -> None:
        """A worker is done. After a fault of the disk nothing new starts for a moment."""
        if fault is not None:
            self._due["start"] = time.monotonic() + _AFTER_A_FAULT
        self._wake.set()

    def _start_checking(self, ledger: Ledger) -> None:
        """Check new jobs' data in a thread: large files must not keep the lease from being renewed."""
        if self._checker is not None and self._checker.is_alive():
            return
        with self._store.read() as db:
            new = jobs.taken(db, "validating_files", self.trainer.name, _CHECKED_AT_ONCE)
        if new:
            checker = threading.Thread(target=self._check, args=(ledger, new), name="checker", daemon=True)
            checker.start()
            self._checker = checker

    def _check(self, ledger: Ledger, new: list[str]) -> None:
        for job_id in new:
            try:
                self._check_one(ledger, job_id)
            except (LeaseLost, checking.Interrupted):
                return
            except (StoreError, OSError) as error:
                log.warning("The data of %s is checked later: %s", job_id, error)
                self._stop.wait(_AFTER_A_FAULT)
            except Exception:
                log.exception("The data of %s is checked later.", job_id)
                self._stop.wait(_AFTER_A_FAULT)
            self._wake.set()

    def _check_one(self, ledger: Ledger, job_id: str) -> None:
        with self._store.read() as db:
            job = jobs.get(db, job_id)
        if job is None or job.status != "validating_files":
            return
        try:
            summary = checking.check(self._store, job, self._stop.is_set)
        except checking.DataRefused as refused:
            ledger.failed(job_id, refused.error, now=self._clock())
        else:
            ledger.validated(job_id, rows=summary.rows, tokens=summary.tokens, now=self._clock())
