"""What requests do to jobs and models: checks that need the database, then one transaction."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Sequence

from reconciler.api.types import CreateJob
from reconciler.server import documents, files, jobs, lifecycle
from reconciler.server.documents import Document
from reconciler.server.lifecycle import Verb
from reconciler.server.problems import Problem, not_found, printable
from reconciler.server.store import Store
from reconciler.server.trainers.base import JobRefused, Trainer

_SAID = {
    "cancel": "The job has been cancelled",
    "pause": "The job has been paused",
    "resume": "The job is queued again",
}


def create_job(store: Store, trainer: Trainer, body: CreateJob, *, now: float, max_unfinished: int) -> Document:
    """Add a job.

    Raises:
        Problem: a file or model that it names does not exist, the trainer cannot do it, or too many jobs wait.
    """
    document = documents.job(
        body, job_id=jobs.new_id("ftjob-"), created_at=int(now), seed=secrets.randbelow(2_147_483_648)
    )
    if trainer.tracks:
        document = documents.with_run_ids(document)
    with store.read() as db:
        _check_model(db, document["model"], trainer.bases)
    try:
        trainer.check(document)
    except JobRefused as refused:
        raise Problem(400, refused.message, code=refused.code, param=refused.param) from refused
    with store.write() as db:
        for param in ("training_file", "validation_file"):
            if document[param] is not None:
                _check_file(db, document[param], param)
        if jobs.count_unfinished(db) >= max_unfinished:
            raise Problem(
                429,
                f"{max_unfinished} jobs wait or run already; try again when some have ended.",
                code="rate_limit_exceeded",
                headers={"Retry-After": "30"},
            )
        job = jobs.insert(db, document, trainer.name)
        jobs.add_event(db, job.seq, f"Created fine-tuning job: {job.id}", now=now)
        names = [document["training_file"], *filter(None, [document["validation_file"]])]
        jobs.add_event(db, job.seq, f"Validating files: {', '.join(names)}", now=now)
    return job.document


def _check_model(db: sqlite3.Connection, model: str, bases: Sequence[str]) -> None:
    if lifecycle.is_base_name(model) or find_model(db, model, bases) is not None:
        return
    raise Problem(
        400,
        f"The model {printable(model)} does not exist, or is not available for fine-tuning.",
        code="model_not_found",
        param="model",
    )


def _check_file(db: sqlite3.Connection, file_id: str, param: str) -> None:
    text = files.text(db, file_id)
    if text is None:
        raise Problem(400, f"No such file: {printable(file_id)}", code="file_not_found", param=param)
    purpose = json.loads(text)["purpose"]
    if purpose != "fine-tune":
        raise Problem(400, f"{file_id} was uploaded for {purpose}, not fine-tune.", code="invalid_file", param=param)


def act(store: Store, job_id: str, verb: Verb, *, now: float) -> Document:
    """Cancel, pause or resume a job.

    Raises:
        Problem: there is no such job, or its status does not allow it.
    """
    with store.write() as db:
        job = jobs.get(db, job_id)
        if job is None:
            raise not_found("fine-tuning job", job_id, "fine_tuning_job_id")
        try:
            status = lifecycle.act(job.status, verb)
        except lifecycle.Refused as refused:
            raise Problem(400, str(refused), code="invalid_job_state", param="status") from refused
        jobs.add_event(db, job.seq, _SAID[verb], now=now)
        finished = int(now) if lifecycle.is_final(status) else None
        return jobs.update(db, job, status=status, finished_at=finished, estimated_finish=None)


def find_model(db: sqlite3.Connection, model: str, bases: Sequence[str]) -> Document | None:
    """Return a model that was made here, a checkpoint that is still kept, or one of ``bases``."""
    if model in bases:
        return documents.model(model, created=0, owned_by="system")
    row = db.execute("SELECT document FROM models WHERE id = ?", (model,)).fetchone()
    if row is not None:
        found: Document = json.loads(row[0])
        return found
    row = db.execute("SELECT document FROM checkpoints WHERE model = ?", (model,)).fetchone()
    return row and documents.model(model, created=json.loads(row[0])["created_at"], owned_by="org-local")


def list_models(db: sqlite3.Connection, bases: Sequence[str]) -> list[str]:
    """Return the base models and all that were made here, as they are sent."""
    known = [documents.model(name, created=0, owned_by="system") for name in bases]
    return [*map(documents.dump, known), *(text for (text,) in db.execute("SELECT document FROM models ORDER BY id"))]


def delete_model(db: sqlite3.Connection, model: str, bases: Sequence[str]) -> None:
    """Delete a model that was made here, or a checkpoint.

    Raises:
        Problem: it is a base model, an unfinished job starts from it, or there is none of this name.
    """
    if model in bases:
        raise Problem(403, f"{model} is a base model and cannot be deleted.", code="permission_denied", param="model")
    if (job_id := jobs.uses_model(db, model)) is not None:
        words = f"{job_id} still starts from this model; cancel it, or wait."
        raise Problem(409, words, code="model_in_use", param="model")
    deleted = db.execute("DELETE FROM models WHERE id = ?", (model,)).rowcount
    deleted += db.execute("DELETE FROM checkpoints WHERE model = ?", (model,)).rowcount
    if not deleted:
        raise not_found("model", model, "model")
    db.execute("DELETE FROM permissions WHERE model = ?", (model,))
