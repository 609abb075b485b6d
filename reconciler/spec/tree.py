"""Which files hold specs.

Below a directory: every ``*.yaml`` and ``*.yml``, in a stable order, but not

- hidden files and directories (their name starts with a dot),
- data directories: a directory named ``data``,
- ``reconciler.yaml``, wherever it stands,
- what ``.reconcilerignore`` at the repository's root excludes, in the syntax of gitignore.

A path that is given itself is read whatever its name, ``reconciler.yaml`` aside: a shell's ``*.yaml`` has it, too.
A symlinked directory is refused rather than skipped: jobs whose specs were not seen would look abandoned.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import Problem, SpecError, UsageError

CONFIG = "reconciler.yaml"
IGNORE = ".reconcilerignore"
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class SpecFile:
    """A file of specs: its absolute path, and how to name it to the user."""

    path: str
    shown_as: str


def spec_files(given: str, root: Path, cwd: Path) -> tuple[list[SpecFile], list[Problem]]:
    """Find the spec files of one path that the user gave, and what stands in the way of finding all.

    Raises:
        UsageError: nothing is there.
    """
    path = os.path.normpath(cwd / given)
    shown_as = shown_path(path, given, cwd)
    if not os.path.lexists(path):
        hint = "Make a first spec with: reconciler init" if given == "specs" else ""
        raise UsageError(f"There is no file or directory {given!r}.", hint=hint)
    if not is_inside(path, os.path.realpath(root)):
        return [], [Problem(shown_as, 0, 0, "leaves the repository")]
    if not Path(path).is_dir():
        return [] if Path(path).name == CONFIG else [SpecFile(path, shown_as)], []
    return _Walk(os.path.realpath(root), str(root)).below(path, shown_as)


def shown_path(path: str, given: str, cwd: Path) -> str:
    """Name a path relative to the working directory where it is inside, else as the user gave it."""
    base = str(cwd)
    inside = path == base or path.startswith(base.rstrip(os.sep) + os.sep)
    return os.path.relpath(path, base) if inside else given


def is_inside(path: str, real_root: str) -> bool:
    """Whether a path, symlinks followed, stays below the root."""
    return os.path.commonpath([real_root, os.path.realpath(path)]) == real_root


class _Walk:
    def __init__(self, real_root: str, root: str) -> None:
        self._real_root = real_root
        self._root = root
        self._ignored = _ignore_rules(root)
        self._files: list[SpecFile] = []
        self._problems: list[Problem] = []

    def below(self, path: str, shown_as: str) -> tuple[list[SpecFile], list[Problem]]:
        waiting = [(path, "" if shown_as == "." else f"{shown_as.rstrip(os.sep)}{os.sep}")]
        while waiting:
            directory, prefix = waiting.pop()
            try:
                with os.scandir(directory) as entries:
                    waiting += [(e.path, f"{prefix}{e.name}{os.sep}") for e in entries if self._enters(e, prefix)]
            except OSError as error:
                self._refuse(prefix.rstrip(os.sep) or ".", f"cannot be read: {error.strerror}")
        self._files.sort(key=lambda f: f.path)
        return self._files, self._problems

    def _enters(self, entry: os.DirEntry[str], prefix: str) -> bool:
        """Take a file that holds specs; return whether this is a directory to go on with."""
        name = entry.name
        if name.startswith("."):
            return False
        if _is_directory(entry):
            if name == "data" or self._ignored(entry.path + os.sep):
                return False
            if entry.is_symlink():
                self._refuse(prefix + name, "is a symlink to a directory; give that directory itself as a path")
                return False
            return True
        if name.endswith(_SUFFIXES) and name != CONFIG and not self._ignored(entry.path):
            if entry.is_symlink() and not is_inside(entry.path, self._real_root):
                self._refuse(prefix + name, "is a symlink that leaves the repository")
            else:
                self._files.append(SpecFile(entry.path, prefix + name))
        return False

    def _refuse(self, shown_as: str, message: str) -> None:
        self._problems.append(Problem(shown_as, 0, 0, message))


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # symlinks in a circle: whoever opens it says so
        return False


def _ignore_rules(root: str) -> Callable[[str], bool]:
    path = Path(root) / IGNORE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return lambda _: False
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError([Problem(IGNORE, 0, 0, "cannot be read as UTF-8 text")]) from error
    from pathspec import GitIgnoreSpec  # noqa: PLC0415 - only who ignores something pays for it

    try:
        rules = GitIgnoreSpec.from_lines(lines)
    except ValueError as error:
        raise SpecError([Problem(IGNORE, 0, 0, f"holds a pattern that cannot be read: {error}")]) from error
    return lambda entry: rules.match_file(os.path.relpath(entry, root) + (os.sep if entry.endswith(os.sep) else ""))
