"""Weights that no model or checkpoint names any more: a process that was killed, or a job cancelled, leaves some."""

from __future__ import annotations

import logging
from collections.abc import Collection

from reconciler.errors import StoreError
from reconciler.server import jobs, lifecycle
from reconciler.server.progress import output_model
from reconciler.server.store import Store
from reconciler.server.trainers.base import Trainer

log = logging.getLogger(__name__)


def sweep(store: Store, trainer: Trainer, model: str | None = None) -> None:
    """Let the trainer delete what ended jobs left without a name; of one ``model`` where it is given.

    What cannot be read now is left alone, and looked at the next time.
    """
    try:
        trainer.sweep(lambda job_id: names(store, job_id), model)
    except (StoreError, OSError) as error:
        log.warning("Weights that nothing names any more are deleted later: %s", error)


def names(store: Store, job_id: str) -> Collection[str] | None:
    """Return the models and checkpoints of a job that are still there; None where it is unknown or may make more."""
    with store.read() as db:
        job = jobs.get(db, job_id)
        if job is None or not lifecycle.is_final(job.status):
            return None
        found = db.execute(
            "SELECT model FROM checkpoints WHERE job = ? UNION SELECT id FROM models WHERE id = ?",
            (job.seq, output_model(job)),
        )
        return {name for (name,) in found}
