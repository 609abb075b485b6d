"""Writes a model that was made here into a directory, with a card that says where it comes from."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import StoreError, UsageError
from reconciler.server import files, jobs, lifecycle
from reconciler.server.jobs import JobRow
from reconciler.server.store import DATABASE, Store
from reconciler.server.trainers.trl.card import Provenance, card
from reconciler.server.trainers.trl.child import Child
from reconciler.server.trainers.trl.gguf import Gguf, convert
from reconciler.server.trainers.trl.merge import MERGED, MergeOrder
from reconciler.server.trainers.trl.order import Told
from reconciler.server.trainers.trl.origin import made_of
from reconciler.server.trainers.trl.shelf import Made, NoWeights, Shelf, slug

Doing = Callable[[str], None]
"""Hears what is being done, in a few words for a person."""
_MODULE = "reconciler.server.trainers.trl.merge"
_PLAIN = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of an export: the commit that its card names, and GGUF besides safetensors."""

    commit: str | None = None
    gguf: Gguf | None = None


def find(directory: Path, name: str, spec_key: str) -> Provenance:
    """Find a model by its name, a checkpoint's too, or by its spec's: the last that was made.

    ``spec_key`` is the key of the metadata that names a job's spec.

    Raises:
        UsageError: there is none on this server, or several owners have one, or its weights, or those of its base,
            are not here.
    """
    if not (directory / DATABASE).is_file():
        raise UsageError(f"{directory} is no directory of a server.", hint="Name the one that it serves: --directory.")
    with contextlib.closing(Store(directory)) as store, store.read() as db:
        model = name if name.startswith("ft:") else _model_of(db, name, spec_key)
        try:
            made = Shelf(directory.absolute() / "models").find(model)
        except NoWeights as error:
            hint = "Only what --trainer trl made has weights; names are case-sensitive."
            raise UsageError(f"{error}", hint=hint) from error
        try:
            made_of(made)
        except NoWeights as error:
            raise UsageError(f"{error}", hint=f"Its card is {made.directory.parent / 'model.json'}.") from error
        job = jobs.get(db, made.card["job"])
        if job is None:
            raise UsageError(f"The job {made.card['job']} that made {model} is not known to this server.")
        return Provenance(made, job, dict(_files(db, job)), _metrics(db, job, made.step))


def _model_of(db: sqlite3.Connection, name: str, spec_key: str) -> str:
    sql = "SELECT j.document FROM job_metadata m JOIN jobs j ON j.seq = m.job WHERE m.key = ? AND m.value = ?"
    found = [json.loads(text) for (text,) in db.execute(f"{sql} ORDER BY j.seq", (spec_key, name))]
    made = [each for each in found if each["fine_tuned_model"]]
    last = {each["metadata"].get(lifecycle.OWNER, "nobody"): str(each["fine_tuned_model"]) for each in made}
    if not last:
        raise UsageError(
            f"No job of the name {name!a} has made a model on this server.",
            hint="Name a spec, or a model or checkpoint: ft:...",
        )
    if len(last) > 1:
        models = ", ".join(f"{model} of {owner}" for owner, model in sorted(last.items()))
        raise UsageError(f"Several owners have a spec {name!a} on this server.", hint=f"Name the model: {models}.")
    return next(iter(last.values()))


def _files(db: sqlite3.Connection, job: JobRow) -> Iterator[tuple[str, str]]:
    for param in ("training_file", "validation_file"):
        text = files.text(db, job.document[param]) if job.document[param] else None
        yield param, json.loads(text)["filename"] if text else ""


def _metrics(db: sqlite3.Connection, job: JobRow, step: int) -> dict[str, float]:
    page = jobs.checkpoints(db, job.seq, limit=100, after=None)
    found = [json.loads(text) for text in page.texts]
    return next((each["metrics"] for each in found if each["step_number"] == step), {})


def export(directory: Path, what: Provenance, target: Path, wish: Wish, doing: Doing) -> Sequence[Path]:
    """Write the model into a new directory, whole or not at all; return what was written, in order.

    Raises:
        UsageError: the directory is there already, and not empty.
        StoreError: the weights could not be written.
        ReconcilerError: they could not be converted.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is not empty.", hint="Name a new directory: nothing is written over.")
    try:
        with held(target) as part:
            write(directory, what, part, wish, doing)
            if target.exists():
                target.rmdir()
            part.rename(target)
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror or error}.") from error
    return sorted(target.iterdir())


@contextlib.contextmanager
def held(target: Path) -> Iterator[Path]:
    """Have an empty directory beside the target, for one export at a time; at the end it is gone, or is the target.

    Raises:
        UsageError: another export is at work there.
    """
    part = target.with_name(f"{target.name}.part")
    part.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        if sys.platform != "win32":
            import fcntl  # noqa: PLC0415

            descriptor = os.open(part, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                hint = "Wait for it, or name another directory."
                raise UsageError(f"Another export writes {target}.", hint=hint) from error
            except OSError:
                pass  # a disk that has no locks
        stack.callback(shutil.rmtree, part, ignore_errors=True)
        for left in part.iterdir():  # by one that was killed
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield part


def write(
    directory: Path, what: Provenance, target: Path, wish: Wish, doing: Doing, *, whole: str = f"`{MERGED}/`"
) -> None:
    """Write all parts of the model into an empty directory. ``whole`` says in the card where the whole model lies.

    Raises:
        StoreError: the weights could not be written.
        ReconcilerError: they could not be converted.
        OSError: the disk does not take them.
    """
    name = gguf_name(what) if wish.gguf else None
    doing("Merging the weights")
    _merge(directory.absolute(), what.made, target.absolute(), name)
    parts = f"{whole} is the whole model; `adapter/`, where there is one, is what was trained, for its base."
    if wish.gguf and name:
        doing("Converting to GGUF")
        convert(wish.gguf, target / MERGED, target / name)
        parts += f" `{name}` is the whole model for llama.cpp and, with the `Modelfile`, for Ollama."
    text = target / "README.md"
    text.write_text(card(what, commit=wish.commit, parts=parts), encoding="utf-8")
    for file in filter(Path.is_file, target.rglob("*")):  # safetensors lets nobody else, such as a server, read its own
        file.chmod(text.stat().st_mode)


def gguf_name(what: Provenance) -> str:
    """Return what the model's GGUF file is called: by its spec, else by its own name."""
    spec = what.spec or ""
    return f"{spec if _PLAIN.fullmatch(spec) else slug(what.made.name)}.gguf"


def _merge(directory: Path, made: Made, target: Path, gguf: str | None) -> None:
    order = MergeOrder(entry=made_of(made), cache=directory / "bases", weights=made.directory, target=target, gguf=gguf)
    file = target / "order.json"
    file.write_text(order.model_dump_json(), encoding="utf-8")
    log = target / "merge.log"
    child = Child(_MODULE, [str(file)], log=log, environment={"HF_HUB_DISABLE_TELEMETRY": "1"})
    told = Told(kind="died")
    patience = 0
    try:
        while (line := child.hear(1.0)) is not None:
            told = Told.model_validate_json(line) if line else told
        patience = 10
    finally:
        code = child.end(patience)
    if told.kind != "done":
        raise StoreError(told.message or f"The weights were not written: the process ended with {code}.")
    file.unlink()
    log.unlink()
