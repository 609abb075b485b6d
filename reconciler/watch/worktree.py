"""The specs of a work tree in which somebody is at work.

Files are seen at any moment: half-written, between a delete and a rename, while a checkout goes on. So

- a file with an error is read as it was when it was last good, and what was never good is left out;
- a training file that is still being written is not believed;
- a name that is missing is believed to be gone only after a while, and not at all as long as a file has an error or a
  directory of specs is missing whose removal is not committed. Until then no job is cancelled for having lost its spec.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from reconciler.api.types.method import MethodType
from reconciler.cache import Cache
from reconciler.data.files import DataFiles, FileFacts
from reconciler.errors import DataError, Problem, ReconcilerError, SpecError, UsageError
from reconciler.spec import documents
from reconciler.spec.config import find_root
from reconciler.spec.load import Memory, Repository, gather, resolve
from reconciler.spec.remote import was_removed
from reconciler.spec.tree import CONFIG, IGNORE, spec_files
from reconciler.watch.snapshot import Snapshot

SETTLED = 2.0
"""Seconds after which a name that is missing is gone, and a training file that nobody wrote to is whole."""

Mark = tuple[int, int, int, int] | None
"""What tells a file from another: disk, inode, size, and when it was changed, in nanoseconds; None where it is not."""
T = TypeVar("T")


class WorkTree:
    """Reads the specs of paths again and again; ``cache_file`` is where facts of training files are kept.

    In a tree that is ``whole`` at any moment nobody writes: what is missing is gone. ``clock`` is monotonic, ``now``
    gives Unix seconds.
    """

    def __init__(
        self,
        paths: Sequence[str],
        environment: str | None,
        *,
        cwd: Path | None = None,
        cache_file: Path | None = None,
        whole: bool = False,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._paths = paths
        self._environment = environment
        self._cwd = (cwd or Path.cwd()).absolute()
        self._root = find_root(self._cwd / paths[0], self._cwd)
        self._config = str(self._root / CONFIG)
        self._cache = Cache(cache_file)
        self._whole = whole
        self._clock, self._now = clock, now
        self._thread = ThreadPoolExecutor(1, "specs")  # one: the cache belongs to the thread that opened it
        self._memory = Memory()
        self._good: dict[str, bytes] = {}
        self._names: set[str] = set()
        self._missing_since: dict[str, float] = {}
        self._directories: dict[str, Mark] = {}
        self._data_paths: set[str] = set()
        self._marks: dict[str, Mark] = {}
        self._believed: dict[str, Mark] = {}
        self._last: Snapshot | None = None

    @property
    def files(self) -> frozenset[str]:
        """Every path whose change may change the answer: given paths, spec files, settings, training files."""
        return frozenset((*self._given(), *self._marks))

    async def read(self) -> Snapshot:
        """Read the specs, unless nothing can have changed.

        Raises:
            ReconcilerError: nothing was ever read, and not even the settings can be.
        """
        return await self._in_thread(self._read)

    async def changed(self) -> bool:
        """Whether a file is another than when it was read last."""
        return await self._in_thread(lambda: self._mark() != self._marks)

    def close(self) -> None:
        """Let go of the thread and the cache."""
        self._thread.submit(self._cache.close).result()
        self._thread.shutdown()

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _given(self) -> list[str]:
        return [os.path.normpath(self._cwd / path) for path in self._paths]

    # Marks: what is compared before anything is read

    def _mark(self) -> dict[str, Mark]:
        found = {str(self._root / name): _mark_of(self._root / name) for name in (CONFIG, IGNORE)}
        for given in self._paths:
            try:
                files, _ = spec_files(given, self._root, self._cwd)
            except ReconcilerError:
                continue
            found |= {file.path: _mark_of(file.path) for file in files}
        return found | {path: _mark_of(path) for path in self._data_paths}

    # Reading

    def _read(self) -> Snapshot:
        marks = self._mark()
        if self._last is not None and marks == self._marks and self._last.again is None and not self._last.unsure:
            return self._last
        believing = self._whole or self._last is None
        data = _Settled(DataFiles(self._root, self._cache), self._now, self._believed, believing=believing)
        try:
            if self._last is not None and marks[self._config] is None and self._marks[self._config]:
                raise UsageError(f"{CONFIG} has vanished.")
            repository, problems = self._load(data)
        except ReconcilerError as error:
            if self._last is None:
                raise
            snapshot = self._as_before(error)
        else:
            snapshot = self._judged(repository, problems, data)
        self._data_paths = data.paths or self._data_paths
        self._marks = marks | {path: _mark_of(path) for path in self._data_paths - marks.keys()}
        self._last = snapshot
        return snapshot

    def _as_before(self, error: ReconcilerError) -> Snapshot:
        """Go on with what was read last."""
        last = self._last
        if last is None:
            raise AssertionError("there is something to go on with")
        words = [f"{line} (the last good specs and settings stand in their place)" for line in str(error).splitlines()]
        return Snapshot(last.repository, tuple(words), unsure=(words[0],))

    def _load(self, data: _Settled) -> tuple[Repository, list[str]]:
        """Load what can be loaded: a file with an error as it was when last good, else not at all."""
        instead: dict[str, bytes] = {}
        problems: dict[Problem, str] = {}
        while True:
            read: dict[str, tuple[str, bytes]] = {}

            def opened(path: str, shown_as: str, read: dict[str, tuple[str, bytes]] = read) -> bytes:
                read[path] = (shown_as, b"")  # also where it cannot be read
                content = instead[path] if path in instead else documents.read_bytes(path, shown_as)
                read[path] = (shown_as, content)
                return content

            found = gather(
                self._paths, environment=self._environment, cwd=self._cwd, opened=opened, memory=self._memory
            )
            try:
                repository = resolve(found, data, self._memory)
            except SpecError as error:
                at_fault = {problem.file for problem in error.problems}
                paths = [p for p, (shown_as, _) in read.items() if shown_as in at_fault and instead.get(p) != b""]
                if not paths:
                    raise
                for path in paths:
                    instead[path], words = self._instead(path, tried=path in instead)
                    problems |= {problem: words for problem in error.problems if problem.file == read[path][0]}
            else:
                self._good = {path: content for path, (_, content) in read.items() if instead.get(path) != b""}
                return repository, [f"{problem} ({words})" for problem, words in sorted(problems.items())]

    def _instead(self, path: str, *, tried: bool) -> tuple[bytes, str]:
        good = self._good.get(path)
        if good is None or tried:
            return b"", "this file is left out, and its jobs are left alone"
        return good, "the last good version of this file stands in its place"

    def _judged(self, repository: Repository, problems: Sequence[str], data: _Settled) -> Snapshot:
        """Decide which of the missing names are gone."""
        notes = tuple(map(str, repository.warnings))
        if self._whole:
            return Snapshot(repository, tuple(problems), tuple(problems), notes=notes)
        names, now = {spec.name for spec in repository.desired}, self._clock()
        unsure = [*problems, *self._lost_directories(repository)]
        missing = self._names - names
        self._missing_since = {name: self._missing_since.get(name, now) for name in missing}
        fresh = {name for name, since in self._missing_since.items() if now - since < SETTLED}
        if not unsure:
            self._names = names | fresh
        if fresh:
            unsure.append(f"{', '.join(sorted(fresh))}: gone for less than {SETTLED:g} s")
        again = SETTLED if fresh or data.busy else None
        return Snapshot(repository, tuple(dict.fromkeys(problems)), tuple(unsure), again, notes)

    def _lost_directories(self, repository: Repository) -> Iterator[str]:
        """Say which directories of specs are no longer there, or lie on another disk; know those that are."""
        folders = {spec.source.file.rpartition("/")[0] for spec in repository.desired}
        here = {str(repository.root / folder) for folder in folders}
        for path in sorted({*self._directories, *here}):
            mark, before, shown = _mark_of(path), self._directories.get(path), os.path.relpath(path, self._root)
            if before and mark is None and was_removed(self._root, shown):
                del self._directories[path]
            elif before and (mark is None or mark[0] != before[0]):
                yield f"{shown} has vanished: until it is back, or its removal is committed, its jobs are left alone"
            elif path in here:
                self._directories[path] = mark


class _Settled:
    """Training files, but none that is still being written. ``paths`` are all that were asked for.

    ``believed`` keeps the marks of those that were taken for whole: as long as a file has its mark, it still is.
    """

    def __init__(
        self, files: DataFiles, now: Callable[[], float], believed: dict[str, Mark], *, believing: bool
    ) -> None:
        self._files, self._now, self._believed, self._believing = files, now, believed, believing
        self.paths: set[str] = set()
        self.busy = False

    def inspect(self, path: str, method: MethodType, *, minimum: int = 10) -> FileFacts:
        self.paths.add(path)
        mark = _mark_of(path)  # before it is read: what is written afterwards is doubted the next time
        facts = self._files.inspect(path, method, minimum=minimum)
        known = self._believing or mark is None or mark == self._believed.get(path)
        if mark is not None and not known and 0 <= self._now() - mark[3] / 1e9 < SETTLED:
            self.busy = True
            raise DataError("is still being written")
        self._believed[path] = mark
        return facts

    def save(self) -> None:
        self._files.save()


def _mark_of(path: str | Path) -> Mark:
    try:
        found = os.stat(path)  # noqa: PTH116 - thousands of files: a Path of each costs more than the question
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
