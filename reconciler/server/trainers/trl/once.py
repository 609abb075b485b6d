"""Directories that several processes want at once, and one makes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

_LOCK = "lock"
_PART = ".part"


def made_once(target: Path, make: Callable[[Path], None]) -> Path:
    """Return a directory that ``make`` fills, unless it is there already. Others wait meanwhile.

    It appears whole or not at all. What a process left that was killed over it goes: whoever has the lock is alone.
    """
    if target.is_dir():
        return target
    cache = target.parent
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / _LOCK):
        if target.is_dir():
            return target
        for left in cache.glob(f"*{_PART}"):
            shutil.rmtree(left, ignore_errors=True)
        part = target.with_name(f"{target.name}{_PART}")
        try:
            part.mkdir()
            make(part)
            part.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return target
