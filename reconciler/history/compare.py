"""What the work tree's specs change against those of a commit: a plan for whoever may ask no server.

The commit's specs are loaded as history loads them. Whether a job of a revision exists, and how it is, nobody knows
here: a spec that is new or has another revision counts as one to create, and a spec that is gone as one whose job is
cancelled.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.cache import Cache
from reconciler.history.checkout import Checkout
from reconciler.history.commits import places
from reconciler.history.git import Git
from reconciler.observe.rows import rows_between
from reconciler.plan.chain import describe
from reconciler.plan.model import Action, Change, Difference
from reconciler.spec.desired import DataFile, Desired, Upstream
from reconciler.spec.scope import is_partial

_BY_STATE = {"running": Action.RESUME, "paused": Action.PAUSE, "cancelled": Action.CANCEL}


def compare(
    git: Git, root: Path, paths: Sequence[str], environment: str | None, commit: str, desired: Sequence[Desired]
) -> list[Change]:
    """Return what becomes of each spec, those that are as they were included.

    ``paths`` are relative to the working directory, ``root`` is the repository's, and ``git`` is of it.

    Raises:
        GitFailed: the commit cannot be read.
        OSError: there is no room for its specs.
    """
    with tempfile.TemporaryDirectory(prefix="reconciler-") as scratch:
        tree = Checkout(git, Path(os.path.realpath(scratch)), places(root, paths), environment, Cache(None))
        before = {spec.name: spec for spec in tree.load(commit)}
    after = {spec.name: spec for spec in desired}
    gone = [spec for name, spec in before.items() if name not in after]
    rows = _Rows(git, root, commit)
    changes = []
    for spec in desired:
        if old := before.get(spec.name):
            changes.append(_changed(spec, old, tuple(_differences(spec, old, after, before, rows))))
        else:
            changes.append(_added(spec, gone))
    return changes if is_partial(paths, root) else changes + list(map(_removed, gone))


def _added(spec: Desired, gone: list[Desired]) -> Change:
    """Say what becomes of a new name; one that takes the place of another is no longer ``gone``."""
    for other in gone:
        if other.revision == spec.revision:
            gone.remove(other)
            return Change(spec.name, Action.NONE, f"was {other.name}, whose job counts", revision=spec.revision)
    return _wanted(spec, "is new")


def _removed(spec: Desired) -> Change:
    return Change(spec.name, Action.CANCEL, "has no spec any more: an unfinished job is cancelled")


def _changed(spec: Desired, old: Desired, diff: tuple[Difference, ...]) -> Change:
    if spec.revision != old.revision:
        return _wanted(spec, "is of another revision", diff)
    if spec.state != old.state:
        reason = f"the spec said {old.state}, and says {spec.state}"
        return Change(spec.name, _BY_STATE[spec.state], reason, revision=spec.revision, diff=diff)
    reason = "other settings; no new run" if diff else "is as it was"
    return Change(spec.name, Action.NONE, reason, revision=spec.revision, diff=diff)


def _wanted(spec: Desired, why: str, diff: tuple[Difference, ...] = ()) -> Change:
    if spec.state != "running":
        action = Action.HOLD if spec.state == "paused" else Action.NONE
        return Change(
            spec.name, action, f"{why}, and {spec.state}: nothing is created", revision=spec.revision, diff=diff
        )
    model = spec.model if isinstance(spec.model, str) else None
    return Change(spec.name, Action.CREATE, why, revision=spec.revision, diff=diff, model=model)


class _Rows:
    """Counts the rows between a commit's data files and the work tree's, each pair once."""

    def __init__(self, git: Git, root: Path, commit: str) -> None:
        self._git = git
        self._root = root
        self._commit = commit
        self._known: dict[tuple[str, str], tuple[int, int] | None] = {}

    def between(self, old: DataFile | str | None, new: DataFile | str | None) -> tuple[int, int] | None:
        if not (isinstance(old, DataFile) and isinstance(new, DataFile)):
            return None
        key = (old.digest, new.digest)
        if key not in self._known:
            blob = self._git.blob(self._commit, old.path)
            self._known[key] = rows_between(self._root, new, self._git.read(blob), old.digest) if blob else None
        return self._known[key]


def _differences(
    spec: Desired, old: Desired, specs: Mapping[str, Desired], olds: Mapping[str, Desired], rows: _Rows
) -> Iterator[Difference]:
    yield from _file("training_file", old.training_file, spec.training_file, rows)
    yield from _file("validation_file", old.validation_file, spec.validation_file, rows)
    before, after = _fields(old, olds), _fields(spec, specs)
    for name in [*after, *(name for name in before if name not in after)]:
        if before.get(name) != after.get(name):
            yield Difference(name, _text(before.get(name)), _text(after.get(name)))


def _file(field: str, old: DataFile | str | None, new: DataFile | str | None, rows: _Rows) -> Iterator[Difference]:
    before, after = (file.digest if isinstance(file, DataFile) else file for file in (old, new))
    if before != after:
        yield Difference(field, _data(old), _data(new), *(rows.between(old, new) or ()))


def _fields(spec: Desired, specs: Mapping[str, Desired]) -> dict[str, Any]:
    """Return everything that a spec states, by the names of the flat form."""
    kind = spec.method["type"]
    settings = dict(spec.method.get(kind) or {})
    fields = {
        "model": _model(spec, specs),
        "method": kind,
        **{f"hyperparameters.{key}": value for key, value in settings.pop("hyperparameters", {}).items()},
        **settings,
        "suffix": spec.suffix,
        "seed": spec.seed,
        "rerun": spec.rerun,
        "state": spec.state,
        "replace": spec.replace,
        "retry.limit": spec.retry_limit,
        "protect": spec.protect,
        "priority": spec.priority,
        **{f"metadata.{key}": value for key, value in spec.metadata.items()},
        "integrations": list(spec.integrations) or None,
        "permissions": list(spec.permissions) or None,
        "adopt": spec.adopt.job if spec.adopt else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _model(spec: Desired, specs: Mapping[str, Desired]) -> str:
    base = specs.get(spec.model.job) if isinstance(spec.model, Upstream) else None
    return describe(spec.model, base.revision if base else None)


def _data(file: DataFile | str | None) -> str | None:
    """Describe data; of a commit's only the digest is known."""
    if not isinstance(file, DataFile):
        return file
    return f"{file.digest[:8]} ({file.rows:,} rows, {file.size:,} bytes)" if file.size else file.digest[:8]


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
