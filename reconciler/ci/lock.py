"""The lock file: the model that each spec has produced, for deployments that read it from git. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from reconciler.errors import ReconcilerError
from reconciler.observe.state import ObservedJob
from reconciler.report.figures import timestamp
from reconciler.report.outputs import quoted
from reconciler.spec.desired import DataFile, Desired
from reconciler.spec.documents import read

Entry = Mapping[str, str]

_HEAD = "# Written by reconciler ci: the model that each spec has produced. What is edited here is lost.\n"
_FIELDS = ("model", "revision", "job", "training_file", "validation_file", "finished_at")


def produced(desired: Sequence[Desired], bound: Mapping[str, ObservedJob | None]) -> dict[str, Entry | None]:
    """Return by name what each spec has produced; None where its job has no model yet, or one that cannot be printed.

    Everything in it is the job's or the spec's own, so it is the same whenever it is asked for.
    """
    return {spec.name: _entry(spec, bound.get(spec.name)) for spec in desired}


def _entry(spec: Desired, job: ObservedJob | None) -> Entry | None:
    if job is None or not job.fine_tuned_model or not f"{job.fine_tuned_model}{job.id}".isprintable():
        return None
    files = map(_data, (spec.training_file, spec.validation_file))
    ended = timestamp(job.finished_at) if job.finished_at else ""
    values = (job.fine_tuned_model, f"{job.revision}.{job.attempt}", job.id, *files, ended)
    return {field: value for field, value in zip(_FIELDS, values, strict=True) if value}


def _data(file: DataFile | str | None) -> str:
    return f"sha256:{file.digest}" if isinstance(file, DataFile) else file or ""


def updated(old: str | None, entries: Mapping[str, Entry | None], file: str) -> str | None:
    """Return the text of a lock file brought up to date; None where there is none and nothing to write yet.

    A spec whose new revision has no model yet keeps the one before; a name without a spec is left out.

    Raises:
        ReconcilerError: what is there is no lock file; ``file`` names it.
    """
    before = _read(old, file) if old is not None else {}
    now = {name: entry or before.get(name) for name, entry in sorted(entries.items())}
    lock = {name: entry for name, entry in now.items() if entry}
    if old is None and not lock:
        return None
    lines = [line for name, entry in lock.items() for line in (f"{quoted(name)}:", *_lines(entry))]
    return _HEAD + "".join(f"{line}\n" for line in lines or ["{}"])


def _lines(entry: Entry) -> list[str]:
    return [f"  {field}: {quoted(entry[field])}" for field in _FIELDS if field in entry]


def _read(text: str, file: str) -> dict[str, Entry]:
    found: Any = None
    if text.startswith(_HEAD):
        with suppress(ReconcilerError, IndexError):
            found = read(file, text.encode())[0].value()
    if not isinstance(found, dict) or not all(map(_is_entry, found.values())):
        raise ReconcilerError(
            f"{file} is no lock file of reconciler ci, and was left as it is.", hint="Name another, or remove it."
        )
    return found


def _is_entry(value: object) -> bool:
    return isinstance(value, dict) and set(value) <= set(_FIELDS) and all(isinstance(v, str) for v in value.values())
