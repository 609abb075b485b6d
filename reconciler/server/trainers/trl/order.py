"""What a training subprocess is told, and what it tells: an order in a file, words on its input, JSON on its output."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from reconciler.api.types import MethodType
from reconciler.server.trainers.trl.catalogue import Entry
from reconciler.server.trainers.trl.recipe import Recipe
from reconciler.server.trainers.trl.tracking.settings import Target


class State(BaseModel):
    """Where a run can go on from; what the engine keeps for it.

    ``tokens`` were learnt from so far, with at most ``micro`` rows in memory at once. ``entry`` is what it is trained
    by, which the catalogue may say otherwise by the time it goes on.
    """

    model_config = ConfigDict(frozen=True)

    step: int
    total: int
    tokens: int
    micro: int
    entry: Entry | None = None


class Order(BaseModel):
    """One run for a subprocess.

    ``place`` is where what it makes is published, ``parent`` the weights that it starts from where its model is a
    fine-tuned one, ``cache`` where converted base models are kept, ``tracking`` where integrations write that have
    nowhere to send to, ``track`` what else shows the run, ``state`` what it goes on from. ``created_at`` is the job's
    date, in Unix seconds.
    """

    model_config = ConfigDict(frozen=True)

    job_id: str
    model: str
    output_model: str
    method: MethodType
    settings: dict[str, Any]
    seed: int
    training_file: Path
    validation_file: Path | None
    workdir: Path
    place: Path
    parent: Path | None
    cache: Path
    entry: Entry
    recipe: Recipe
    state: State | None
    threads: int | None
    card: dict[str, Any]
    metadata: dict[str, str] = {}
    integrations: list[dict[str, Any]] = []
    tracking: Path
    track: tuple[Target, ...] = ()
    created_at: int


class Told(BaseModel):
    """One line from a subprocess: what happened, and when. ``kind`` says which of the others mean something."""

    kind: str
    at: float = Field(default_factory=time.time)
    message: str = ""
    step: int = 0
    total: int = 0
    metrics: Mapping[str, float] = {}
    tokens: int = 0
    epoch: int | None = None
    code: str = ""
    param: str | None = None


STOP = "stop"
"""The word that asks a subprocess to save and end."""
DROP = "drop"
"""The word that asks a subprocess to end, and to save nothing."""


def kept(step: int) -> str:
    """Return the words that tell a subprocess that the server has recorded a checkpoint, and goes on from it."""
    return f"kept {step}"


class Wishes(Protocol):
    """What the server wants of a run, each as it is now."""

    @property
    def stop(self) -> bool:
        """Whether to save and end."""

    @property
    def drop(self) -> bool:
        """Whether to end, and to save nothing."""

    @property
    def kept(self) -> int:
        """The last step that the server has recorded, 0 for none."""


class Said:
    """What a subprocess was told so far: the server's wishes."""

    def __init__(self) -> None:
        self.stop = self.drop = False
        self.kept = 0

    def hear(self, line: str) -> None:
        """Take a line of the server's."""
        match line.split():
            case ["kept", step]:
                self.kept = max(self.kept, int(step))
            case [word] if word == DROP:
                self.stop = self.drop = True
            case _:
                self.stop = True
