"""The specs of a branch, apart from any work tree: fetched into a clone of our own, and read commit by commit.

A commit is whole, so what it lacks is meant to be gone; limits on destruction hold as always. A checkout that failed
may leave half of one: until another has succeeded nothing is read, and the last good specs stand. The clone is the
cache's: it may be deleted, and is made again. So a commit is read once: what its files lack later is not meant.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from reconciler.errors import ReconcilerError, UsageError
from reconciler.watch.snapshot import Snapshot
from reconciler.watch.worktree import WorkTree

_PATIENCE = 300.0
_SEEN = "refs/reconciler/seen"
"""The commit that was followed last, also by a run before this one."""
_NEW = "refs/reconciler/new"
_STATE = ".reconciler"
"""Beside the settings, wherever these stand: caches, and the embedded server with its models."""
_SAFE = ("-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false", "-c", "gc.autoDetach=false")


_FORGOTTEN = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"}
"""What a hook sets for the repository it runs in."""
_USER = re.compile(r"(?<=://)[^/@]*@")


class _GitFailed(Exception):
    """In git's own words."""


class _HalfWay(_GitFailed):
    """A checkout failed: the clone's files may be those of two commits."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A branch or tag (``ref``) of a repository at a URL or path."""

    url: str
    ref: str

    @property
    def names(self) -> tuple[str, ...]:
        """What it may be called in full: the first that exists counts."""
        return (self.ref,) if self.ref.startswith("refs/") else (f"refs/heads/{self.ref}", f"refs/tags/{self.ref}")


def clone_directory(ref: Ref, environment: str | None, environ: Mapping[str, str]) -> Path:
    """Return where the clone is kept: one for each ref and environment, in the user's cache."""
    cache = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = "\0".join((ref.url, ref.ref, environment or ""))
    return cache / "reconciler" / hashlib.sha256(key.encode()).hexdigest()[:16]


class Branch:
    """Follows a ref in a clone below ``directory``; ``make`` makes what reads the specs there.

    The remote is asked at most once in ``every`` seconds of ``clock``.
    """

    def __init__(
        self,
        ref: Ref,
        directory: Path,
        make: Callable[[], WorkTree],
        *,
        every: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ref, self._directory, self._make = ref, directory, make
        self._every, self._clock = every, clock
        self._tree: WorkTree | None = None
        self._asked_at: float | None = None
        self._tip = self._commit = self._read = self._at = ""
        self._problem = ""
        self._torn = False
        self._last: Snapshot | None = None
        self._notes: tuple[str, ...] = ()

    async def read(self) -> Snapshot:
        """Return what the newest commit says; where it cannot be had, what the last one said.

        Raises:
            ReconcilerError: no commit was ever fetched.
        """
        if self._asked_at is None or self._clock() - self._asked_at >= self._every:
            await asyncio.to_thread(self._follow)
            self._asked_at = self._clock()
        snapshot = self._as_before() if self._torn else await self._whole()
        problems = (self._problem, *snapshot.problems) if self._problem else snapshot.problems
        return replace(snapshot, problems=problems, notes=(*snapshot.notes, *self._notes), at=self._at)

    async def _whole(self) -> Snapshot:
        """Return what the commit says; a fault may have been the disk's, so it is looked for again."""
        if self._tree is None:
            self._tree = self._make()
        last = self._last if self._read == self._commit else None
        if last is None or (last.unsure and not await asyncio.to_thread(self._damaged)):
            self._last = last = await self._tree.read()
            self._read = self._commit
        return last

    def _as_before(self) -> Snapshot:
        """Go on with what was read last: half of a commit says nothing of what is gone.

        Raises:
            ReconcilerError: nothing was.
        """
        if self._last is None:
            raise ReconcilerError(
                f"{self._problem}.", hint=f"Make room in {self._directory}, or delete it: it is made again."
            )
        words = f"a checkout failed half way: the specs of {self._commit[:12]} stand until one succeeds"
        return replace(self._last, unsure=(*self._last.unsure, words))

    async def changed(self) -> bool:
        """Say no: only the remote knows, and asking it is what reading does."""
        return False

    def close(self) -> None:
        """Let go of what reads the specs."""
        if self._tree is not None:
            self._tree.close()

    def _follow(self) -> None:
        """Check the newest commit out."""
        try:
            self._prepare()
            seen = self._seen()
            name, tip = self._newest()
            if tip != self._tip or self._torn or self._damaged():
                self._git("fetch", "--no-tags", "--force", "--", self._ref.url, f"+{name}:{_NEW}", slow=True)
                commit = self._git("rev-parse", "--verify", f"{_NEW}^{{commit}}")
                self._compare(seen, commit)
                self._check_out(commit)
                self._tip = tip
            self._problem = ""
        except _GitFailed as error:
            verb = "checked out" if isinstance(error, _HalfWay) else "fetched"
            self._problem = f"{self._ref.ref} cannot be {verb}: {error}"
            if not self._commit:
                self._fall_back()

    def _fall_back(self) -> None:
        """Begin with the commit that a run before this one has followed.

        Raises:
            ReconcilerError: there is none.
        """
        try:
            self._check_out(self._git("rev-parse", "--verify", f"{_SEEN}^{{commit}}"))
        except _GitFailed:
            raise ReconcilerError(
                f"{self._problem}.", hint="Try it by hand: git ls-remote URL. Give --git and --ref as git knows them."
            ) from None
        self._problem += f" (going on with {self._commit[:12]}, which was followed last)"

    def _prepare(self) -> None:
        state = self._directory / ".git"
        for lock in (*state.glob("*.lock"), *state.glob("refs/reconciler/*.lock")):
            with contextlib.suppress(OSError):  # then git says so
                lock.unlink()  # of a git that was killed: we are alone here
        if self._asked_at is not None and state.is_dir():
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        self._git("init", "--quiet")
        self._git("config", "remote.origin.url", self._origin())

    def _origin(self) -> str:
        """Return the URL that says whose jobs these are: of a clone on this machine, the one it came from."""
        if Path(self._ref.url).is_dir():
            try:
                return self._git("-C", str(Path(self._ref.url).absolute()), "remote", "get-url", "origin")
            except _GitFailed:
                pass
        return _USER.sub("", self._ref.url)

    def _seen(self) -> str:
        try:
            return self._git("rev-parse", "--verify", "--quiet", f"{_SEEN}^{{commit}}")
        except _GitFailed:
            return ""

    def _newest(self) -> tuple[str, str]:
        """Ask the remote for the ref's full name and its commit, or tag."""
        lines = self._git("ls-remote", "--", self._ref.url, *self._ref.names, slow=True).splitlines()
        found = {name: commit for commit, _, name in (line.partition("\t") for line in lines)}
        for name in self._ref.names:
            if name in found:
                return name, found[name]
        raise _GitFailed("there is no such branch or tag")

    def _damaged(self) -> bool:
        """Whether the clone lacks files of what was checked out: caches are cleaned, by people and by programs."""
        try:
            return self._git("rev-parse", "HEAD") != self._commit or bool(self._git("ls-files", "--deleted"))
        except _GitFailed:
            return True

    def _compare(self, seen: str, commit: str) -> None:
        """Note a history that does not go on from the commit that was followed before."""
        self._notes = ()
        if seen and seen != commit:
            try:
                self._git("merge-base", "--is-ancestor", seen, commit)
            except _GitFailed:
                words = f"{self._ref.ref} was rewound: {seen[:12]} is no part of {commit[:12]}, which is followed now."
                self._notes = (words,)

    def _check_out(self, commit: str) -> None:
        at = f"{self._ref.ref} is at {commit[:12]}: {self._git('log', '-1', '--format=%s', commit)}"
        self._torn = True
        try:
            self._git("checkout", "--quiet", "--force", "--detach", commit, slow=True)
            self._git("clean", "--quiet", "-ffdx", "-e", _STATE)
        except _GitFailed as error:
            raise _HalfWay(str(error)) from error
        self._torn, self._commit, self._at = False, commit, at
        self._git("update-ref", _SEEN, commit)

    def _git(self, *arguments: str, slow: bool = False) -> str:
        """Run git in the clone; it asks nobody for anything."""
        environment = {key: value for key, value in os.environ.items() if key not in _FORGOTTEN}
        environment |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        environment.setdefault("GIT_SSH_COMMAND", "ssh -oBatchMode=yes")
        try:
            done = subprocess.run(  # noqa: S603 - what is variable stands behind "--", or is a ref or an id
                ["git", "-C", str(self._directory), *_SAFE, *arguments],  # noqa: S607 - the user's own git
                env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                timeout=_PATIENCE if slow else 60, check=False,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise UsageError("git is not installed, or not on the PATH.") from error
        except (OSError, subprocess.SubprocessError) as error:
            raise _GitFailed(str(error)) from error
        if done.returncode:
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            raise _GitFailed(lines[0].removeprefix("fatal: ") if lines else f"git {arguments[0]} failed")
        return done.stdout.decode(errors="replace").strip()
