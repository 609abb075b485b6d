"""Specs as commits had them: every revision that a repository's history holds, and the commit that brought it.

The commits are loaded by the very loader that loads the work tree, from git's objects; the work tree is not touched.
Only commits are loaded that touch a spec, the settings, or a data file that a spec of an earlier commit named.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from reconciler import __version__
from reconciler.cache import Cache
from reconciler.history.checkout import Checkout, holds_specs
from reconciler.history.git import Commit, Git, GitFailed
from reconciler.spec.desired import DataFile, Desired, Upstream
from reconciler.spec.load import STDIN
from reconciler.spec.tree import CONFIG, IGNORE

MOST_LOADED = 500
"""How many commits that touch specs are loaded, newest first."""

Content = tuple[str, str]
"""A data file: where the spec found it, relative to the root, and its SHA-256 in 64 hex digits."""


@dataclass(frozen=True, slots=True)
class Version:
    """A spec as a commit had it. ``commit`` is None for one that is not committed yet.

    ``file`` and ``line`` are where it stood; ``training`` and ``validation`` are its data by content, None for a bare
    file id and for no data. ``time`` is the commit's, in Unix seconds.
    """

    name: str
    revision: str
    file: str
    line: int
    training: Content | None
    validation: Content | None
    commit: str | None = None
    time: int = 0
    subject: str = ""

    @classmethod
    def of(cls, spec: Desired) -> Version:
        """Say of a spec what history keeps."""
        return cls(
            name=spec.name,
            revision=spec.revision,
            file=spec.source.file,
            line=spec.source.line,
            training=_content(spec.training_file),
            validation=_content(spec.validation_file),
        )


def _content(file: DataFile | str | None) -> Content | None:
    return (file.path, file.digest) if isinstance(file, DataFile) else None


@dataclass(frozen=True)
class Past:
    """All versions of all specs, oldest first, and what is worth saying about how far that goes back."""

    versions: tuple[Version, ...] = ()
    notes: tuple[str, ...] = ()

    def find(self, name: str, revision: str, created_at: float) -> Version | None:
        """Find what a job was made from: a version of its revision, one of its name before any other.

        Where a revision came more than once (a revert brings one back), the newest that is older than the job.
        """
        found = [v for v in self.versions if v.revision == revision]
        found = [v for v in found if v.name == name] or found
        before = [v for v in found if v.commit is not None and v.time <= created_at]
        return before[-1] if before else found[0] if found else None


def read_past(
    root: Path, paths: Sequence[str], environment: str | None, desired: Iterable[Desired], cache: Cache
) -> Past:
    """Read every version of the specs at ``paths`` (relative to the working directory), those of ``desired`` included.

    Without git, or outside a repository of it, that is ``desired`` alone; a note says so.
    """
    versions: list[Version] = []
    notes: list[str] = []
    try:
        with Git(root) as git, tempfile.TemporaryDirectory(prefix="reconciler-") as scratch:
            below = places(root, paths)
            commits = git.commits() if below else []
            tree = Checkout(git, Path(os.path.realpath(scratch)), below, environment, cache)
            kind = f"commits/{__version__} {environment} {' '.join(below)}"
            versions = _introduced(_Reader(tree, below, cache, kind).versions(_recent(commits, below)))
            if below and not commits:
                notes.append("no commits: the repository has none yet")
            if git.shallow:
                notes.append("this clone is shallow: older commits are found after git fetch --unshallow")
    except (GitFailed, OSError) as error:
        notes.append(f"no commits: {error}")
    known = {(v.name, v.revision) for v in versions}
    current = [Version.of(spec) for spec in desired]
    return Past((*versions, *(v for v in current if (v.name, v.revision) not in known)), tuple(notes))


def places(root: Path, paths: Sequence[str]) -> list[str]:
    """Return paths relative to the root, in POSIX form."""
    absolute = [os.path.normpath(Path.cwd() / path) for path in paths if path != STDIN]
    return [Path(os.path.relpath(path, root)).as_posix() for path in absolute]


def _recent(commits: Sequence[Commit], places: Sequence[str]) -> Sequence[Commit]:
    """Leave out what came before the newest ``MOST_LOADED`` commits that touch specs."""
    about = [i for i, c in enumerate(commits) if any(holds_specs(path, places) for path in c.touched)]
    return commits[about[-MOST_LOADED] :] if len(about) > MOST_LOADED else commits


def _introduced(versions: Iterable[Version]) -> list[Version]:
    """Keep those versions whose revision differs from the one before it of the same name."""
    latest: dict[str, str] = {}
    kept = []
    for version in versions:
        if latest.get(version.name) != version.revision:
            latest[version.name] = version.revision
            kept.append(version)
    return kept


class _Reader:
    """Loads commits in order, each after its parents."""

    def __init__(self, tree: Checkout, places: Sequence[str], cache: Cache, kind: str) -> None:
        self._tree = tree
        self._places = places
        self._cache = cache
        self._kind = kind

    def versions(self, commits: Iterable[Commit]) -> Iterator[Version]:
        known = self._cache.load(self._kind)
        fresh: dict[str, Any] = {}
        named: set[str] = set()
        seen: set[tuple[str, str]] = set()
        try:
            for commit in commits:
                if not any(path in named or holds_specs(path, self._places) for path in commit.touched):
                    continue
                found = _recall(known.get(commit.id))
                if found is None:
                    found = self._touched_by(commit)
                    fresh[commit.id] = [{**asdict(version), "needs": sorted(needs)} for version, needs in found]
                for version, needs in found:
                    named |= needs
                    if not (commit.merge and (version.name, version.revision) in seen):
                        seen.add((version.name, version.revision))
                        yield version
        finally:
            self._cache.store(self._kind, fresh)

    def _touched_by(self, commit: Commit) -> list[tuple[Version, set[str]]]:
        """Load the specs of a commit; return those that it touches, each with the files that it depends on."""
        specs = {spec.name: spec for spec in self._tree.load(commit.id)}
        found = []
        for spec in specs.values():
            needs = _needs(spec, specs)
            if not commit.touched.isdisjoint(needs):
                version = replace(Version.of(spec), commit=commit.id, time=commit.time, subject=commit.subject)
                found.append((version, needs))
        return found


def _recall(entry: Any) -> list[tuple[Version, set[str]]] | None:  # noqa: ANN401 - whatever JSON can say
    try:
        return [(_version(one), set(one["needs"])) for one in entry]
    except (TypeError, AttributeError, KeyError, IndexError):
        return None


def _version(stored: Mapping[str, Any]) -> Version:
    said = {key: value for key, value in stored.items() if key != "needs"}
    return replace(Version(**said), training=_pair(said["training"]), validation=_pair(said["validation"]))


def _pair(stored: Sequence[str] | None) -> Content | None:
    return (stored[0], stored[1]) if stored else None


def _needs(spec: Desired, specs: Mapping[str, Desired]) -> set[str]:
    """Return every file that a spec's revision depends on, those of the specs it is built on included."""
    needs = {CONFIG, IGNORE, spec.source.file, *(file.path for file in spec.files)}
    if isinstance(spec.model, Upstream) and spec.model.job in specs:
        needs |= _needs(specs[spec.model.job], specs)
    return needs
