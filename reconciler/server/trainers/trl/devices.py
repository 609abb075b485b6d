"""What this machine has to train on, found without loading torch: a server holds no accelerator itself."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Literal

from reconciler.errors import UsageError
from reconciler.server.trainers.base import Control

GIB = 1024**3
VISIBLE = "CUDA_VISIBLE_DEVICES"
_CGROUP = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True, slots=True)
class Device:
    """Something to train on. ``id`` is what CUDA knows it by, ``memory`` its bytes, None where they are unknown."""

    kind: Literal["cuda", "mps", "cpu"]
    name: str
    memory: int | None
    index: int = 0
    id: str = ""

    @property
    def label(self) -> str:
        """Its name among the devices of this machine."""
        return f"cuda:{self.index}" if self.kind == "cuda" else self.kind

    def __str__(self) -> str:
        size = f", {self.memory / GIB:.0f} GiB" if self.memory else ""
        return f"{self.label} ({self.name}{size})"


CLUSTER = Device("cpu", "the cluster", None)
"""What a cluster lends before it has chosen where a job trains."""


def find_devices(
    environment: Mapping[str, str] = os.environ, nvidia: Callable[[], str] | None = None, system: str = sys.platform
) -> list[Device]:
    """Return this machine's GPUs that may be used, else its processors. ``nvidia`` gives what nvidia-smi lists."""
    if found := list(_visible(_listed((nvidia or _nvidia)()), environment.get(VISIBLE))):
        return found
    if system == "darwin" and platform.machine() == "arm64":
        return [Device("mps", "Apple GPU", _memory())]
    return [_processors()]


def _processors() -> Device:
    return Device("cpu", f"{os.cpu_count() or 1} processors", _memory())


def _nvidia() -> str:
    """List CUDA's devices; nothing where there are none, or where this torch could not use them."""
    with contextlib.suppress(PackageNotFoundError):
        if version("torch").endswith("+cpu"):
            return ""
    command = ["nvidia-smi", "--query-gpu=index,uuid,memory.total,name", "--format=csv,noheader,nounits"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""


def _listed(text: str) -> Iterator[Device]:
    for line in text.splitlines():
        index, uuid, mebibytes, name = (part.strip() for part in line.split(",", 3))
        size = int(mebibytes) * 1024**2 if mebibytes.isdigit() else None
        yield Device("cuda", name, size, int(index), uuid)


def _visible(devices: Iterator[Device], words: str | None) -> Iterator[Device]:
    """Keep to the devices that the variable names, in its order; CUDA ends the list at a word that names none."""
    if words is None:
        yield from devices
        return
    known = list(devices)
    for place, word in enumerate(filter(None, map(str.strip, words.split(",")))):
        named = [each for each in known if word == str(each.index) or each.id.startswith(word)]
        if not named and not word.startswith("MIG-"):
            return
        yield named[0] if named else Device("cuda", "a part of a GPU", None, place, word)


def _memory() -> int | None:
    """Return this machine's memory, or what its container may use of it."""
    if sys.platform == "win32":
        return None
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        return min(total, int(_CGROUP.read_text(encoding="ascii")))
    return total


def choose(found: Sequence[Device], gpus: str | None) -> list[Device]:
    """Return the devices that were asked for: all, the first ``N``, or ``device=I,J`` by their numbers.

    Raises:
        UsageError: there are no such devices; says which there are.
    """
    if gpus is None:
        return list(found)
    there = [device for device in found if device.kind == "cuda"]
    hint = f"Found here: {', '.join(map(str, found))}."
    if gpus == "0" and not any(device.kind == "mps" for device in found):
        return [_processors()]
    if gpus.isdecimal():
        if not 0 < int(gpus) <= len(there):
            raise UsageError(f"--gpus {gpus}: there are {len(there)} CUDA devices.", hint=hint)
        return there[: int(gpus)]
    if not re.fullmatch(r"device=\d+(,\d+)*", gpus):
        raise UsageError(f"--gpus {gpus[:50]!r} is neither a number nor device=0,2.", hint=hint)
    numbers = dict.fromkeys(map(int, gpus.removeprefix("device=").split(",")))
    by_number = {device.index: device for device in there}
    if lacking := [number for number in numbers if number not in by_number]:
        raise UsageError(f"--gpus {gpus}: there is no CUDA device {lacking[0]}.", hint=hint)
    return [by_number[number] for number in numbers]


class Pool:
    """Gives each run a device: a GPU is one run's at a time, processors are shared."""

    def __init__(self, devices: Sequence[Device]) -> None:
        self.devices = devices
        self.places = None if devices[0].kind == "cpu" else len(devices)
        self._free: SimpleQueue[Device] = SimpleQueue()
        for device in devices:
            self._free.put(device)

    @contextlib.contextmanager
    def lend(self, control: Control) -> Iterator[Device | None]:
        """Lend a device for as long as the block lasts; None where a stop is asked for before one is free."""
        if self.places is None:
            yield self.devices[0]
            return
        device = None
        while device is None and not control.stopping:
            with contextlib.suppress(Empty):
                device = self._free.get(timeout=0.1)
        try:
            yield device
        finally:
            if device is not None:
                self._free.put(device)
