"""What a new revision changes against the newest job of another one, field by field. Pure.

Only what the spec states is compared: what a server filled in (``auto``, a seed, a dated model name) is no difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.observe.ownership import NAME, OWNER, REVISION
from reconciler.observe.state import FileInfo, Observed, ObservedJob
from reconciler.plan.chain import describe
from reconciler.plan.model import Difference
from reconciler.plan.words import is_snapshot_of
from reconciler.spec.desired import DataFile, Desired, Upstream


def difference(spec: Desired, model: str | None, old: ObservedJob, observed: Observed) -> tuple[Difference, ...]:
    """Compare a spec with a job of another revision. ``model`` is the base a chain resolved to, if it did."""
    return tuple(_differences(spec, model, old, observed))


def _differences(spec: Desired, model: str | None, old: ObservedJob, observed: Observed) -> Iterator[Difference]:
    if not _same_model(spec.model, model, old.model):
        new = describe(spec.model) if model is None or isinstance(spec.model, str) else model
        yield Difference("model", old.model, new)
    yield from _file("training_file", spec.training_file, old.training_file, observed)
    yield from _file("validation_file", spec.validation_file, old.validation_file, observed)
    yield from _method(spec.method, old.method)
    if spec.suffix is not None and old.suffix is not None and spec.suffix != old.suffix:
        yield Difference("suffix", old.suffix, spec.suffix)
    if spec.seed is not None and spec.seed != old.seed:
        yield Difference("seed", _text(old.seed), str(spec.seed))


def _same_model(stated: str | Upstream, resolved: str | None, old: str) -> bool:
    wanted = stated if isinstance(stated, str) else resolved
    return wanted is not None and (wanted == old or is_snapshot_of(old, wanted))


def _file(field: str, new: DataFile | str | None, old_id: str | None, observed: Observed) -> Iterator[Difference]:
    old = observed.files.get(old_id or "")
    if new == old_id or (isinstance(new, DataFile) and old and old.holds(new.digest)):
        return
    rows = observed.rows.get((old_id or "", new.digest)) if isinstance(new, DataFile) else None
    before = f"{old.digest[:8]}{_size(old, new, rows)}" if old and old.digest else old_id
    after = f"{new.digest[:8]} ({new.rows:,} rows, {new.size:,} bytes)" if isinstance(new, DataFile) else new
    yield Difference(field, before, after, *(rows or ()))


def _size(old: FileInfo, new: DataFile | str | None, rows: tuple[int, int] | None) -> str:
    facts = []
    if rows and isinstance(new, DataFile):
        added, removed = rows
        facts.append(f"{new.rows - added + removed:,} rows")
    if old.size is not None:
        facts.append(f"{old.size:,} bytes")
    return f" ({', '.join(facts)})" if facts else ""


def _method(new: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[Difference]:
    kind = new["type"]
    if kind != old.get("type"):
        yield Difference("method", _text(old.get("type")), kind)
        old = {}
    before = _mapping(old.get(kind))
    for key, value in _mapping(new.get(kind)).items():
        if key == "hyperparameters":
            numbers = _mapping(before.get(key))
            for parameter, number in value.items():
                if numbers.get(parameter) != number:
                    yield Difference(f"hyperparameters.{parameter}", _text(numbers.get(parameter)), _text(number))
        elif not _stated_equal(value, before.get(key)):
            yield Difference(key, _text(before.get(key)), _text(value))


def _mapping(value: object) -> Mapping[str, Any]:
    """Return a mapping as it is and anything else as an empty one: servers put anything anywhere."""
    return value if isinstance(value, Mapping) else {}


def _stated_equal(stated: object, seen: object) -> bool:
    """Whether everything stated is seen; what a server adds to a mapping is its default."""
    if isinstance(stated, Mapping):
        return isinstance(seen, Mapping) and all(_stated_equal(value, seen.get(key)) for key, value in stated.items())
    if isinstance(stated, list):
        return (
            isinstance(seen, list)
            and len(stated) == len(seen)
            and all(_stated_equal(a, b) for a, b in zip(stated, seen, strict=True))
        )
    return stated == seen


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def label_notes(spec: Desired, job: ObservedJob) -> Iterator[str]:
    """Say which labels of a job no longer match its spec: relabelling never buys another run."""
    ours = {OWNER, NAME, REVISION}
    if {k: v for k, v in job.metadata.items() if k not in ours} != dict(spec.metadata):
        yield "metadata changed: it is written with the next revision"
    if not _stated_equal(list(spec.integrations), list(job.integrations)):
        yield "integrations changed: they are written with the next revision"
    if isinstance(spec.model, str) and is_snapshot_of(job.model, spec.model):
        yield f"{spec.model} became {job.model}: not drift"
