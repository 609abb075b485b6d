"""Writes a model that was made here into a directory, with a card that says where it comes from."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.errors import StoreError, UsageError
from reconciler.server import files, jobs
from reconciler.server.jobs import JobRow
from reconciler.server.store import DATABASE, Store
from reconciler.server.trainers.trl.catalogue import Entry
from reconciler.server.trainers.trl.child import Child
from reconciler.server.trainers.trl.merge import MergeOrder
from reconciler.server.trainers.trl.order import Told
from reconciler.server.trainers.trl.shelf import Made, NoWeights, Shelf

_MODULE = "reconciler.server.trainers.trl.merge"


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a model comes from: its weights, its job, the names of its data files, and its metrics."""

    made: Made
    job: JobRow
    files: Mapping[str, str]
    metrics: Mapping[str, float]

    @property
    def metadata(self) -> Mapping[str, str]:
        """The job's metadata, in which its owner, spec and revision stand."""
        return self.job.document["metadata"] or {}


def find(directory: Path, name: str, spec_key: str) -> Provenance:
    """Find a model by its name, a checkpoint's too, or by its spec's: the last that was made.

    ``spec_key`` is the key of the metadata that names a job's spec.

    Raises:
        UsageError: there is none on this server, or its weights are not here.
    """
    if not (directory / DATABASE).is_file():
        raise UsageError(f"{directory} is no directory of a server.", hint="Name the one that it serves: --directory.")
    with closing(Store(directory)) as store, store.read() as db:
        model = name if name.startswith("ft:") else _model_of(db, name, spec_key)
        try:
            made = Shelf(directory.absolute() / "models").find(model)
        except NoWeights as error:
            hint = "Only what --trainer trl made has weights; names are case-sensitive."
            raise UsageError(f"{error}", hint=hint) from error
        job = jobs.get(db, made.card["job"])
        if job is None:
            raise UsageError(f"The job {made.card['job']} that made {model} is not known to this server.")
        return Provenance(made, job, dict(_files(db, job)), _metrics(db, job, made.step))


def _model_of(db: sqlite3.Connection, name: str, spec_key: str) -> str:
    sql = "SELECT j.document FROM job_metadata m JOIN jobs j ON j.seq = m.job WHERE m.key = ? AND m.value = ?"
    found = [json.loads(text)["fine_tuned_model"] for (text,) in db.execute(f"{sql} ORDER BY j.seq", (spec_key, name))]
    models = [model for model in found if model]
    if not models:
        raise UsageError(
            f"No job of the name {name!a} has made a model on this server.",
            hint="Name a spec, or a model or checkpoint: ft:...",
        )
    return str(models[-1])


def _files(db: sqlite3.Connection, job: JobRow) -> Iterator[tuple[str, str]]:
    for param in ("training_file", "validation_file"):
        text = files.text(db, job.document[param]) if job.document[param] else None
        yield param, json.loads(text)["filename"] if text else ""


def _metrics(db: sqlite3.Connection, job: JobRow, step: int) -> dict[str, float]:
    page = jobs.checkpoints(db, job.seq, limit=100, after=None)
    found = [json.loads(text) for text in page.texts]
    return next((each["metrics"] for each in found if each["step_number"] == step), {})


def export(directory: Path, what: Provenance, target: Path, *, commit: str | None) -> Sequence[Path]:
    """Write the model into a new directory, whole or not at all; return what was written, in order.

    Raises:
        UsageError: the directory is there already, and not empty.
        StoreError: the weights could not be written.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is not empty.", hint="Name a new directory: nothing is written over.")
    part = target.with_name(f"{target.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        _merge(directory.absolute(), what.made, part.absolute())
        (part / "README.md").write_text(card(what, commit=commit), encoding="utf-8")
        if target.exists():
            target.rmdir()
        part.rename(target)
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return sorted(target.iterdir())


def _merge(directory: Path, made: Made, target: Path) -> None:
    entry = Entry.model_validate(made.card["entry"])
    order = MergeOrder(entry=entry, cache=directory / "bases", weights=made.directory, target=target)
    file = target / "order.json"
    file.write_text(order.model_dump_json(), encoding="utf-8")
    log = target / "merge.log"
    child = Child(_MODULE, [str(file)], log=log, environment={"HF_HUB_DISABLE_TELEMETRY": "1"})
    told = Told(kind="died")
    try:
        while (line := child.hear(1.0)) is not None:
            told = Told.model_validate_json(line) if line else told
    finally:
        code = child.end(patience=10)
    if told.kind != "done":
        raise StoreError(told.message or f"The weights were not written: the process ended with {code}.")
    file.unlink()
    log.unlink()


def card(what: Provenance, *, commit: str | None) -> str:
    """Return the model card, in the hub's form."""
    made, job = what.made, what.job.document
    head = {
        "license": (made.card.get("licence") or "unknown").lower(),
        "base_model": made.card["source"],
        "library_name": "transformers",
        "tags": ["text-generation", made.card["method"]],
    }
    facts = {
        "model": made.name,
        "base": f"{made.card['base']} ({made.card['source']})",
        "started from": made.card["started_from"],
        "job": what.job.id,
        "spec": what.metadata.get("reconciler.name"),
        "owner": what.metadata.get("reconciler.owner"),
        "revision": what.metadata.get("reconciler.revision"),
        "commit": commit,
        "method": made.card["method"],
        "hyperparameters": ", ".join(f"{name} {value}" for name, value in made.card["hyperparameters"].items()),
        "seed": made.card["seed"],
        "step": made.step,
        "trained tokens": job["trained_tokens"],
        "training data": _data(what, "training_file", "training_sha256"),
        "validation data": _data(what, "validation_file", "validation_sha256"),
    }
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in head.items()), "---", ""]
    lines += [f"# {_cell(made.name)}", "", "| | |", "| --- | --- |"]
    lines += [f"| {key} | {_cell(value)} |" for key, value in facts.items() if value not in (None, "")]
    if what.metrics:
        lines += ["", "| metric | at this step |", "| --- | --- |"]
        lines += [f"| {_cell(key)} | {_cell(value)} |" for key, value in what.metrics.items() if key != "step"]
    lines += [
        "",
        "`merged/` is the whole model; `adapter/`, where there is one, is what was trained, for its base.",
        "",
    ]
    return "\n".join(lines)


def _data(what: Provenance, param: str, digest: str) -> str | None:
    sha256 = what.made.card[digest]
    return f"{what.files[param] or 'deleted'}, sha256 {sha256}" if sha256 else None


def _cell(value: Any) -> str:  # noqa: ANN401 - a fact of any type
    """Show a value in a cell: in code, so that nothing in it is markup."""
    text = str(value).replace("`", "'").replace("|", "\\|")
    return f"`{' '.join(text.split())}`"
