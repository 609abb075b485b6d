"""Specs as commits had them: every revision that a repository's history holds, and the commit that brought it.

The commits are loaded by the very loader that loads the work tree, from git's objects; the work tree is not touched.
Only commits are loaded that touch a spec, the settings, or a data file that a spec of an earlier commit named.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from reconciler import __version__
from reconciler.api.types.method import MethodType
from reconciler.cache import Cache
from reconciler.data.files import FileFacts
from reconciler.errors import DataError, ReconcilerError, SpecError
from reconciler.history.git import Commit, Git, GitFailed
from reconciler.spec.desired import DataFile, Desired, Upstream
from reconciler.spec.documents import MAX_BYTES
from reconciler.spec.load import STDIN, load
from reconciler.spec.tree import CONFIG, IGNORE

MOST_LOADED = 500
"""How many commits that touch specs are loaded, newest first."""

_SUFFIXES = (".yaml", ".yml")
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/.*^oid sha256:([0-9a-f]{64})$", re.DOTALL | re.MULTILINE
)
_LONGEST_POINTER = 1024


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
            below = _below(root, paths)
            commits = git.commits() if below else []
            tree = _Tree(git, Path(os.path.realpath(scratch)), below, environment, cache)
            kind = f"commits/{__version__} {environment} {' '.join(below)}"
            versions = _introduced(_Reader(tree, below, cache, kind).versions(_recent(commits, below)))
            if git.shallow:
                notes.append("this clone is shallow: older commits are found after git fetch --unshallow")
    except (GitFailed, OSError) as error:
        notes.append(f"no commits: {error}")
    known = {(v.name, v.revision) for v in versions}
    current = [Version.of(spec) for spec in desired]
    return Past((*versions, *(v for v in current if (v.name, v.revision) not in known)), tuple(notes))


def _below(root: Path, paths: Sequence[str]) -> list[str]:
    """Return paths relative to the root, in POSIX form."""
    absolute = [os.path.normpath(Path.cwd() / path) for path in paths if path != STDIN]
    return [Path(os.path.relpath(path, root)).as_posix() for path in absolute]


def _is_below(path: str, places: Sequence[str]) -> bool:
    return any(place in (".", path) or path.startswith(f"{place}/") for place in places)


def _holds_specs(path: str, places: Sequence[str]) -> bool:
    """Whether a file may hold specs, or settings that change them. A path that is given itself has any name."""
    name = PurePosixPath(path).name
    if name in (CONFIG, IGNORE):
        return path in (CONFIG, IGNORE)
    return path in places or (name.endswith(_SUFFIXES) and _is_below(path, places))


def _recent(commits: Sequence[Commit], places: Sequence[str]) -> Sequence[Commit]:
    """Leave out what came before the newest ``MOST_LOADED`` commits that touch specs."""
    about = [i for i, c in enumerate(commits) if any(_holds_specs(path, places) for path in c.touched)]
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

    def __init__(self, tree: _Tree, places: Sequence[str], cache: Cache, kind: str) -> None:
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
                if not any(path in named or _holds_specs(path, self._places) for path in commit.touched):
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
    except (TypeError, AttributeError, KeyError):
        return None


def _version(stored: Mapping[str, Any]) -> Version:
    values = {
        key: tuple(value) if isinstance(value, list) else value for key, value in stored.items() if key != "needs"
    }
    return Version(**values)


def _needs(spec: Desired, specs: Mapping[str, Desired]) -> set[str]:
    """Return every file that a spec's revision depends on, those of the specs it is built on included."""
    needs = {CONFIG, IGNORE, spec.source.file, *(file.path for file in spec.files)}
    if isinstance(spec.model, Upstream) and spec.model.job in specs:
        needs |= _needs(specs[spec.model.job], specs)
    return needs


class _Tree:
    """A directory that holds the specs of one commit at a time, and not their data."""

    def __init__(self, git: Git, scratch: Path, places: Sequence[str], environment: str | None, cache: Cache) -> None:
        self._git = git
        self._scratch = scratch
        self._places = places
        self._environment = environment
        self._data = _Blobs(git, scratch, cache)
        self._held: dict[str, str] = {}

    def load(self, commit: str) -> tuple[Desired, ...]:
        """Load the specs of a commit, as far as they are valid."""
        self._check_out(commit)
        self._data.commit = commit
        given = [place for place in self._places if (self._scratch / place).exists()]
        while given:
            try:
                return load(given, environment=self._environment, cwd=self._scratch, data=self._data).desired
            except SpecError as error:
                if not self._drop({problem.file for problem in error.problems}):
                    return ()
            except ReconcilerError:  # the environment did not exist yet, for example
                return ()
        return ()

    def _check_out(self, commit: str) -> None:
        files = self._git.files(commit, [*self._places, CONFIG, IGNORE])
        wanted = {
            path: blob
            for path, blob in files.items()
            if _holds_specs(path, self._places) and ".." not in PurePosixPath(path).parts
        }
        self._drop({path for path, blob in self._held.items() if wanted.get(path) != blob})
        for path, blob in wanted.items():
            if path not in self._held:
                self._write(path, _limited(self._git.read(blob)))
                self._held[path] = blob
        if CONFIG not in wanted:  # it marks the root
            self._write(CONFIG, b"")

    def _write(self, path: str, content: bytes) -> None:
        target = self._scratch / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def _drop(self, paths: set[str]) -> bool:
        """Remove files, and say whether any of them was there. Without settings nothing can be loaded."""
        gone = paths & self._held.keys()
        for path in gone:
            del self._held[path]
            (self._scratch / path).unlink()
        return bool(gone) and CONFIG not in gone


def _limited(pieces: Iterable[bytes]) -> bytes:
    """Join pieces, as far as a spec may go and a little more, so that the loader still sees that it is too large."""
    content = b""
    for piece in pieces:
        content += piece[: MAX_BYTES + 1 - len(content)]
    return content


class _Blobs:
    """The training files of ``commit``, known by their blobs: each is hashed once for all commits that have it."""

    _KIND = "blobs/1"

    def __init__(self, git: Git, root: Path, cache: Cache) -> None:
        self.commit = ""
        self._git = git
        self._root = root
        self._cache = cache
        self._known = cache.load(self._KIND)
        self._fresh: dict[str, str] = {}

    def inspect(self, path: str, method: MethodType, *, minimum: int = 10) -> FileFacts:  # noqa: ARG002
        relative = Path(os.path.relpath(path, self._root)).as_posix()
        blob = None if relative.startswith("../") else self._git.blob(self.commit, relative)
        if blob is None:
            raise DataError("is not in this commit")
        digest = self._known.get(blob) or self._fresh.get(blob)
        if not isinstance(digest, str):
            digest = self._fresh[blob] = _content_digest(self._git.read(blob))
        return FileFacts(digest, 0, 0)

    def save(self) -> None:
        self._cache.store(self._KIND, self._fresh)
        self._known |= self._fresh
        self._fresh = {}


def _content_digest(pieces: Iterable[bytes]) -> str:
    """Return the SHA-256 of a blob; of what it points to, where it is a pointer of Git LFS."""
    digest = hashlib.sha256()
    start = b""
    for piece in pieces:
        digest.update(piece)
        start += piece[: _LONGEST_POINTER - len(start)]
    pointer = _POINTER.match(start) if len(start) < _LONGEST_POINTER else None
    return pointer[1].decode() if pointer else digest.hexdigest()
