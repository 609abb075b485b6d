"""What ended jobs left, and nobody will ask for: a process that was killed, or a job cancelled, leaves some."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Collection

from reconciler.errors import StoreError
from reconciler.server import jobs, lifecycle
from reconciler.server.progress import output_model
from reconciler.server.store import Store, translated
from reconciler.server.trainers.base import Trainer

log = logging.getLogger(__name__)

_OURS = re.compile(r"ftjob-[A-Za-z0-9]{24}")
"""A working directory's name that we made."""


def sweep(store: Store, trainer: Trainer, busy: Collection[str]) -> None:
    """Remove all that is left. Gigabytes may go, so this is for a thread of its own."""
    sweep_workdirs(store, busy)
    sweep_weights(store, trainer)


def sweep_workdirs(store: Store, busy: Collection[str]) -> None:
    """Remove the working directories of jobs that ended without a worker, or are not known; not of those ``busy``."""
    try:
        with translated(store.directory):
            found = [path for path in (store.directory / "work").glob("ftjob-*") if _OURS.fullmatch(path.name)]
        with store.read() as db:  # after the listing: a directory is made once its job is known
            unfinished = jobs.unfinished(db)
    except StoreError as error:
        log.warning("Working directories are looked through later: %s", error)
        return
    for path in found:
        if path.name not in unfinished and path.name not in busy and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


def sweep_weights(store: Store, trainer: Trainer, model: str | None = None) -> None:
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
