"""The specs of a commit in a directory of their own, and its training files by their content."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from reconciler.api.types.method import MethodType
from reconciler.cache import Cache
from reconciler.data.files import FileFacts
from reconciler.errors import DataError, ReconcilerError, SpecError
from reconciler.history.git import Git
from reconciler.spec.desired import Desired
from reconciler.spec.documents import MAX_BYTES
from reconciler.spec.load import load
from reconciler.spec.tree import CONFIG, IGNORE

_SUFFIXES = (".yaml", ".yml")
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/.*^oid sha256:([0-9a-f]{64})$", re.DOTALL | re.MULTILINE
)
_LONGEST_POINTER = 1024


def _is_below(path: str, places: Sequence[str]) -> bool:
    return any(place in (".", path) or path.startswith(f"{place}/") for place in places)


def holds_specs(path: str, places: Sequence[str]) -> bool:
    """Whether a file may hold specs, or settings that change them. A path that is given itself has any name."""
    name = PurePosixPath(path).name
    if name in (CONFIG, IGNORE):
        return path in (CONFIG, IGNORE)
    return path in places or (name.endswith(_SUFFIXES) and _is_below(path, places))


class Checkout:
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
            if holds_specs(path, self._places) and ".." not in PurePosixPath(path).parts
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
            self._prune((self._scratch / path).parent)
        return bool(gone) and CONFIG not in gone

    def _prune(self, directory: Path) -> None:
        """Remove directories that hold nothing any more, as git does: a file may take the place of one."""
        with contextlib.suppress(OSError):  # one that holds something ends it
            while directory != self._scratch:
                directory.rmdir()
                directory = directory.parent


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
