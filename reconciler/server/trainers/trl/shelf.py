"""Where the weights of what was made lie: a directory for each model, in it one for each step that can be used.

``model.json`` beside the steps tells what the model is: its ``final`` step is the one that the model's own name means,
None while it is trained; ``removed`` are the names that were deleted. A step's directory appears whole or not at all.
Several processes write there, so each holds a model's lock, a file beside its directory, while it changes the card.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from reconciler.server.trainers.trl.checkpoints import sync

_CARD = "model.json"
_CHECKPOINT = ":ckpt-step-"
_WEIGHTS = ("adapter_model.safetensors", "adapter_config.json", "config.json", "generation_config.json")


class NoWeights(LookupError):
    """There are no weights of this name here; the message says so."""


@dataclass(frozen=True, slots=True)
class Made:
    """A model that was made here: what it was made from, and where its weights lie."""

    name: str
    step: int
    directory: Path
    card: dict[str, Any]


def slug(name: str) -> str:
    """Return a file name for a model's name: readable, short, and its own."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80]
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:10]}"


class Shelf:
    """The weights below a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def place(self, model: str) -> Path:
        """Return the directory of a model, made or not."""
        return self._directory / slug(model)

    def find(self, name: str) -> Made:
        """Find a model or one of its checkpoints.

        Raises:
            NoWeights: it is not here.
        """
        model, _, step = name.partition(_CHECKPOINT)
        place = self.place(model)
        try:
            card = read_card(place)
            number = int(step or card["final"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise NoWeights(f"There are no weights of {name} on this server.") from error
        directory = step_directory(place, number)
        if not directory.is_dir():
            raise NoWeights(f"The weights of {name} are no longer on this server.")
        return Made(name, number, directory, card)

    def remove(self, name: str) -> None:
        """Delete a model's, or a checkpoint's, weights; those that go by another name, too, stay until that is deleted.

        None of this name is no error.
        """
        model = name.partition(_CHECKPOINT)[0]
        place = self.place(model)
        if not place.is_dir():
            return
        with _alone(place):
            try:
                made = self.find(name)
            except NoWeights:
                return
            removed = {*made.card.get("removed", ()), name}
            names = {f"{model}{_CHECKPOINT}{made.step}"} | ({model} if made.step == made.card["final"] else set())
            if names <= removed:
                shutil.rmtree(made.directory, ignore_errors=True)
            if _steps(place):
                _write(place, made.card | {"removed": sorted(removed)})
            else:
                shutil.rmtree(place, ignore_errors=True)

    def sweep(self, named: Callable[[str], Collection[str] | None], model: str | None = None) -> None:
        """Delete the steps that no name is left for; those of one model, or of a checkpoint's, where it is given.

        ``named`` says which names are left of what a job has made, None where the job is unknown or may make more.
        """
        places = self._directory.glob("*") if model is None else [self.place(model.partition(_CHECKPOINT)[0])]
        for place in places:
            if place.is_dir():
                with _alone(place):
                    self._sweep(place, named)

    def _sweep(self, place: Path, named: Callable[[str], Collection[str] | None]) -> None:
        try:
            card = read_card(place)
        except (OSError, ValueError):
            return
        model, job, final = (card.get(key) for key in ("model", "job", "final"))
        if not isinstance(model, str) or not isinstance(job, str) or self.place(model) != place:
            return
        names = named(job)
        if names is None or (final is None and model in names):
            return
        for directory in _steps(place):
            step = directory.name.removeprefix("step-")
            if f"{model}{_CHECKPOINT}{step}" not in names and not (model in names and step == str(final)):
                shutil.rmtree(directory, ignore_errors=True)
        if not _steps(place):
            shutil.rmtree(place, ignore_errors=True)


def is_adapter(weights: Path) -> bool:
    """Whether a directory holds an adapter rather than a whole model."""
    return (weights / "adapter_config.json").is_file()


def step_directory(place: Path, step: int) -> Path:
    """Return where a step's weights lie."""
    return place / f"step-{step}"


def publish(checkpoint: Path, place: Path, step: int, card: dict[str, Any]) -> None:
    """Put the weights of a trainer's checkpoint on the shelf. Done again, it changes nothing, but gives a name back.

    Raises:
        OSError: the disk is full, or does not take them.
    """
    target, part = step_directory(place, step), place / f"step-{step}.part"
    with _alone(place):  # whoever deletes the model's last step now must not take this one with it
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        if not (place / _CARD).exists():  # a sweep finds by it whose the part is that one who is killed here leaves
            _write(place, {**card, "final": None, "removed": []})
    for file in sorted(checkpoint.iterdir()):
        if file.name in _WEIGHTS or (file.name.startswith("model") and ".safetensors" in file.name):
            _link(file, part / file.name)
            sync(part / file.name)
    with _alone(place):
        removed = {name for name in _removed(place) if not name.endswith(f"{_CHECKPOINT}{step}")}
        _write(place, {**card, "final": None, "removed": sorted(removed)})
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)
    for directory in (target, place, place.parent):
        sync(directory)


def finish(place: Path, step: int) -> None:
    """Say that the model is made: its name means this step's weights."""
    with _alone(place):
        _write(place, {**read_card(place), "final": step})
    sync(place)


def read_card(place: Path) -> dict[str, Any]:
    """Return what the directory of a model says it is.

    Raises:
        OSError, ValueError: it says nothing.
    """
    card: dict[str, Any] = json.loads((place / _CARD).read_text(encoding="utf-8"))
    return card


def _removed(place: Path) -> set[str]:
    try:
        return set(read_card(place).get("removed", ()))
    except (OSError, ValueError):
        return set()


def _alone(place: Path) -> FileLock:
    """Be the only one that changes a model's card, once entered; the lock outlives its directory."""
    place.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(place.parent / f".{place.name}.lock")


def _write(place: Path, card: dict[str, Any]) -> None:
    written = place / f"{_CARD}.{secrets.token_hex(4)}.part"
    written.write_text(json.dumps(card, indent=2), encoding="utf-8")
    sync(written)
    written.replace(place / _CARD)


def prune(place: Path, keep: Iterable[int]) -> None:
    """Delete the steps that are not to be kept."""
    names = {f"step-{step}" for step in keep}
    for directory in _steps(place):
        if directory.name not in names:
            shutil.rmtree(directory, ignore_errors=True)


def _steps(place: Path) -> Sequence[Path]:
    return [found for found in place.glob("step-*") if found.is_dir()]


def _link(source: Path, target: Path) -> None:
    """Share the file where the disk can: weights are large."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
