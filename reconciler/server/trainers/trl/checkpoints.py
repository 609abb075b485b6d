"""What training goes on from: TRL's checkpoints in a job's working directory, each whole and on disk or not counted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from reconciler.server.trainers.trl.order import State

_SEAL = "reconciler.json"
"""Written last, removed first: a checkpoint that has it is whole. It says where the run is."""
_AHEAD = 5
"""How many checkpoints that no server has recorded yet are kept; one that is away for long must not fill the disk."""


def checkpoint(workdir: Path, step: int) -> Path:
    """Return where TRL saves a step."""
    return workdir / "run" / f"checkpoint-{step}"


def seal(workdir: Path, state: State) -> None:
    """Make what TRL has saved last, through a power cut too: what the server records must be found again.

    Raises:
        OSError: the disk is full, or does not take it.
    """
    place = checkpoint(workdir, state.step)
    for path in place.rglob("*"):
        sync(path)
    mark = place / _SEAL
    mark.write_text(state.model_dump_json(), encoding="utf-8")
    for path in (mark, place, place.parent):
        sync(path)


def newest(workdir: Path, step: int) -> State | None:
    """Return the newest whole checkpoint that is not later than a step, None where there is none."""
    return max((each for each in _whole(workdir) if each.step <= step), key=lambda each: each.step, default=None)


def drop_later(workdir: Path, step: int) -> None:
    """Remove what was saved after the step that training goes on from: it is learnt again."""
    for number, path in _saved(workdir):
        if number > step:
            _remove(path)


def prune(workdir: Path, recorded: int) -> None:
    """Keep what the server counts on, the newest whole one up to the step that it ``recorded``, and the later ones."""
    found = dict(sorted(_saved(workdir)))
    base = newest(workdir, recorded)
    earlier = [step for step in found if base is not None and step < base.step]
    later = [step for step in found if step > recorded]
    for step in (*earlier, *later[:-_AHEAD]):
        _remove(found[step])


def sync(path: Path) -> None:
    """Have a file, or a directory's names, on disk. Windows cannot open a directory, and does not need it."""
    if os.name != "posix" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _saved(workdir: Path) -> Iterator[tuple[int, Path]]:
    for path in (workdir / "run").glob("checkpoint-*"):
        number = path.name.removeprefix("checkpoint-")
        if number.isdecimal():
            yield int(number), path


def _whole(workdir: Path) -> Iterator[State]:
    for number, path in _saved(workdir):
        try:
            state = State.model_validate_json((path / _SEAL).read_bytes())
        except (OSError, ValidationError):
            continue
        if state.step == number:
            yield state


def _remove(path: Path) -> None:
    (path / _SEAL).unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)
