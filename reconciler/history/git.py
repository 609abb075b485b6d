"""Git, as far as history asks it: which commits there are, what they touch, what files held then. Changes nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

MOST_COMMITS = 10_000
"""How many commits are looked at, newest first."""

_HEAD = re.compile(r"\x01([0-9a-f]{40,64}) (\d+) (.*)", re.DOTALL)
_BLOB = re.compile(r"([0-9a-f]{40,64}) blob (\d+)\n")
_LEADS_NOWHERE = re.compile(r"(?:symlink|dangling|loop|notdir) \d+\n")
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_PATIENCE = 120
_PIECE = 1 << 20
_FILES = {"100644", "100755"}
_SETTINGS = ("-c", "log.showSignature=false", "-c", "log.diffMerges=separate")
"""What people set for themselves must not change what is found."""


class GitFailed(Exception):
    """Git is missing, or did not do what was asked; the message is in git's own words."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit and the paths it touches, against any of its parents. ``time`` is when it was made, in Unix seconds."""

    id: str
    time: int
    subject: str
    touched: frozenset[str]
    merge: bool = False


class Git:
    """The part of a repository below ``root``, to be used as a context manager.

    Paths are POSIX and relative to ``root``. Every method raises GitFailed where git fails. One that is ``trusted`` may
    belong to another user, as a checkout does in the container of a job.
    """

    def __init__(self, root: Path, *, trusted: bool = False) -> None:
        self._root = root
        self._settings = (*_SETTINGS, "-c", "safe.directory=*") if trusted else _SETTINGS
        self._prefix = ""
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        if shutil.which("git") is None:
            raise GitFailed("git is not installed")
        self._prefix = self._ask("rev-parse", "--show-prefix").removesuffix("\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._running.values():
            process.kill()
            process.communicate()

    @property
    def prefix(self) -> str:
        """Where ``root`` is in the work tree: empty for its top, else a path that ends in a slash."""
        return self._prefix

    @property
    def shallow(self) -> bool:
        """Whether older commits were never fetched."""
        return self._ask("rev-parse", "--is-shallow-repository").strip() == "true"

    def commits(self) -> list[Commit]:
        """Return the newest commits of HEAD and of all branches and tags, each after its parents."""
        refs = ["--branches", "--remotes", "--tags", *self._head(), "--"]
        found: dict[str, tuple[int, str, set[str], int]] = {}
        touched: set[str] = set()
        log = ("log", "--topo-order", f"--max-count={MOST_COMMITS}", "-m", "-z", "--name-only", "--no-renames")
        for token in self._ask(*log, "--relative", "--format=%x01%H %ct %s", *refs).split("\0"):
            if head := _HEAD.fullmatch(token):
                time, subject, touched, parents = found.get(head[1], (int(head[2]), head[3], set(), 0))
                found[head[1]] = (time, subject, touched, parents + 1)
            elif path := token.removeprefix("\n"):
                touched.add(path)
        return [
            Commit(id_, time, subject, frozenset(paths), merge=parents > 1)
            for id_, (time, subject, paths, parents) in reversed(found.items())
        ]

    def _head(self) -> list[str]:
        """Return HEAD, unless it is a branch without a commit yet: git would refuse it."""
        return [head] if (head := self.commit("HEAD")) else []

    def commit(self, name: str) -> str | None:
        """Return the commit that a branch, a tag or an id names, None where this clone has none of that name."""
        try:
            return self._ask("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").strip()
        except GitFailed:
            return None

    def parents(self, commit: str) -> list[str]:
        """Return the parents of a commit, also those that a shallow clone does not have."""
        head = self._ask("cat-file", "commit", _checked(commit)).partition("\n\n")[0]
        return [line.removeprefix("parent ") for line in head.splitlines() if line.startswith("parent ")]

    def names(self, commit: str) -> list[str]:
        """Return what a commit has in this very directory: files, and directories."""
        return self._ask("ls-tree", "-z", "--name-only", _checked(commit)).split("\0")[:-1]

    def tip(self, branch: str, env: Mapping[str, str]) -> str:
        """Ask the remote ``origin`` for the newest commit of a branch; ``env`` holds settings for git."""
        found = self._ask("ls-remote", "--exit-code", "origin", f"refs/heads/{branch}", env=env)
        return _checked(found.partition("\t")[0])

    def fetch(self, commit: str, env: Mapping[str, str]) -> None:
        """Fetch one commit, without those before it, from the remote ``origin``; ``env`` holds settings for git."""
        self._ask("fetch", "--quiet", "--no-tags", "--depth=1", "origin", _checked(commit), env=env)

    def files(self, commit: str, paths: Sequence[str]) -> dict[str, str]:
        """Return the blobs of a commit's regular files at or below paths, by path."""
        found = {}
        for line in self._ask("ls-tree", "-r", "-z", commit, "--", *paths).split("\0"):
            about, _, path = line.partition("\t")
            if path and about.split()[0] in _FILES:
                found[path] = about.split()[2]
        return found

    def blob(self, commit: str, path: str) -> str | None:
        """Return the blob of a file, symlinks followed; None where the commit has no such file."""
        process = self._cat("--batch-check", "--follow-symlinks")
        answer = _request(process, f"{commit}:{self._prefix}{path}")
        if _LEADS_NOWHERE.fullmatch(answer):
            _output(process).readline()  # the path it would lead to
        found = _BLOB.fullmatch(answer)
        return found[1] if found else None

    def read(self, blob: str) -> Iterator[bytes]:
        """Yield the content of a blob in pieces, to be taken to the end."""
        process = self._cat("--batch")
        output = _output(process)
        found = _BLOB.fullmatch(_request(process, blob))
        if not found:
            raise GitFailed(f"{blob} is missing from this clone")
        left = int(found[2])
        while left:
            piece = output.read(min(left, _PIECE))
            if not piece:
                raise GitFailed("git ended too early")
            left -= len(piece)
            yield piece
        output.read(1)

    def _ask(self, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        try:
            done = subprocess.run(  # noqa: S603 - fixed commands; what is variable stands behind "--" or is an id
                self._command(*arguments),
                capture_output=True,
                env={**os.environ, **env} if env else None,
                timeout=_PATIENCE,
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise GitFailed(str(error)) from error
        if done.returncode:
            raise GitFailed(done.stderr.decode(errors="replace").strip().removeprefix("fatal: "))
        return os.fsdecode(done.stdout)

    def _cat(self, *how: str) -> subprocess.Popen[bytes]:
        if how[0] not in self._running:
            self._running[how[0]] = subprocess.Popen(  # noqa: S603
                self._command("cat-file", *how),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self._running[how[0]]

    def _command(self, *arguments: str) -> list[str]:
        return ["git", "-C", str(self._root), "--no-optional-locks", *self._settings, *arguments]


def _checked(commit: str) -> str:
    """Return a commit's id; what is none could be an option to git."""
    if not _COMMIT.fullmatch(commit):
        raise GitFailed(f"{commit!r} is no commit")
    return commit


def _request(process: subprocess.Popen[bytes], name: str) -> str:
    if "\n" in name:
        raise GitFailed(f"{name!r} is no name that git can be asked for")
    if process.stdin is None:
        raise AssertionError("it was opened with pipes")
    try:
        process.stdin.write(os.fsencode(name) + b"\n")
        process.stdin.flush()
    except OSError as error:
        raise GitFailed("git ended too early") from error
    answer = _output(process).readline()
    if not answer:
        raise GitFailed("git ended too early")
    return os.fsdecode(answer)


def _output(process: subprocess.Popen[bytes]) -> IO[bytes]:
    if process.stdout is None:
        raise AssertionError("it was opened with pipes")
    return process.stdout
