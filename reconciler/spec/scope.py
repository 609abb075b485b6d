"""Whether the given paths are all of a repository's specs: what they lack may still stand elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

HOME = "specs"
"""The directory that specs live in unless told."""


def is_partial(paths: Sequence[str], root: Path, cwd: Path | None = None) -> bool:
    """Whether paths name only a part: files, stdin, or directories inside a ``specs`` directory.

    A job whose spec is missing from a part has not lost it.
    """
    cwd = (cwd or Path.cwd()).absolute()
    return not any(_is_whole(cwd / path, root) for path in paths if path != "-")


def _is_whole(path: Path, root: Path) -> bool:
    path, root = path.resolve(), root.resolve()
    within = path.relative_to(root).parts[:-1] if path.is_relative_to(root) else ()
    return path.is_dir() and HOME not in within
