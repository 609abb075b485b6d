"""Where training processes run: the interface that the trainer knows, and this machine.

An executor lends a run a device and starts its process there; all have the same program, ``train``, which is told
things and tells things line by line.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from reconciler.server.trainers.base import Control
from reconciler.server.trainers.trl.child import Child
from reconciler.server.trainers.trl.devices import VISIBLE, Device, Pool
from reconciler.server.trainers.trl.order import Order

MODULE = "reconciler.server.trainers.trl.train"
ENVIRONMENT = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "WANDB_SILENT": "true",
}


class Process(Protocol):
    """A training process, wherever it runs."""

    def tell(self, line: str) -> None:
        """Say a line to it; one that has ended does not hear it."""

    def hear(self, seconds: float) -> bytes | None:
        """Return its next line; empty where none came in time, None once it has ended."""

    def end(self, patience: float = 0) -> int:
        """End it, unless it ends by itself within ``patience`` seconds; return its exit code, negative for a signal."""

    def starved(self) -> bool | None:
        """Once it has ended: whether memory ran out; None where others killed it, and nobody says why."""

    def leave(self) -> bool:
        """Let it run on after the server, and return True; False where it cannot. One that is left is not ended."""

    def last_words(self) -> str:
        """Return the last line that it printed to its standard error, cut."""


class Executor(Protocol):
    """Starts training processes."""

    @property
    def places(self) -> int | None:
        """How many runs there is room for at once; None where that does not matter."""

    @property
    def spreads(self) -> bool:
        """Whether a run may have several workers."""

    @property
    def no_four_bits(self) -> str | None:
        """What is lacking here for ``tuning: qlora``; None where nothing is, or nobody knows before."""

    @property
    def where(self) -> str:
        """What runs are computed on, for people."""

    @property
    def here(self) -> Mapping[str, str]:
        """The environment of what the server itself computes on this machine: answers."""

    def lend(self, control: Control) -> AbstractContextManager[Device | None]:
        """Lend a run a device for as long as the block lasts; None where a stop is asked for before one is free."""

    def start(self, order: Order, device: Device) -> Process:
        """Start a run's process on a device, or find the one that a server before this one left."""

    def keep_only(self, job_ids: Collection[str]) -> None:
        """End what a server before this one left for any other job."""

    def close(self) -> None:
        """Let go of it all; the server ends."""


class LocalExecutor:
    """Subprocesses of the server, which end with it. ``launcher`` are words that stand before Python."""

    def __init__(self, devices: Sequence[Device], launcher: Sequence[str] = ()) -> None:
        self._pool = Pool(devices)
        self._launcher = launcher
        self.places = self._pool.places
        self.spreads = False
        self.no_four_bits = _lacking(devices[0])
        self.where = ", ".join(map(str, devices))
        self.here = {**ENVIRONMENT, **visible(devices[:1])}

    def lend(self, control: Control) -> AbstractContextManager[Device | None]:
        """Lend a GPU that no other run has, or the processors."""
        return self._pool.lend(control)

    def start(self, order: Order, device: Device) -> Process:
        """Start a subprocess."""
        return start_child(order, {**ENVIRONMENT, **visible([device])}, self._launcher)

    def keep_only(self, job_ids: Collection[str]) -> None:
        """Nothing outlives a server here."""

    def close(self) -> None:
        """Nothing is held."""


def _lacking(device: Device) -> str | None:
    if device.kind != "cuda":
        return f"an NVIDIA GPU, and this server has {device.label}"
    if importlib.util.find_spec("bitsandbytes") is None:
        return "bitsandbytes: pip install 'finetune-reconciler[train,qlora]'"
    return None


def visible(devices: Sequence[Device]) -> Mapping[str, str]:
    """Return the environment in which CUDA has only these devices."""
    if devices[0].kind == "mps":
        return {}
    return {VISIBLE: ",".join(device.id for device in devices if device.kind == "cuda")}


def start_child(
    order: Order, environment: Mapping[str, str], launcher: Sequence[str] = (), *, module: str = MODULE
) -> Child:
    """Start a run's subprocess on this machine."""
    file = order.workdir / "order.json"
    file.write_text(order.model_dump_json(), encoding="utf-8")
    return Child(module, [str(file)], log=order.workdir / "train.log", environment=environment, launcher=launcher)
