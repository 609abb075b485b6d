"""The shapes of a base model's weights, read from the heads of their files, here or at the hub: nothing is loaded."""

from __future__ import annotations

import json
import math
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from reconciler.errors import UsageError
from reconciler.server.trainers.base import TrainingFailed
from reconciler.server.trainers.trl.catalogue import Entry, local_source
from reconciler.server.trainers.trl.devices import CLUSTER, GIB, Device
from reconciler.server.trainers.trl.memory import Load, Shapes, need, what_would_fit
from reconciler.server.trainers.trl.recipe import Recipe

NOT_ENOUGH = "insufficient_memory"
_LONGEST_HEAD = 100 * 1024**2
_PATIENCE = 5.0
"""Seconds that the hub has for each answer: an estimate is not worth more waiting."""


def shapes_of(entry: Entry) -> Shapes | None:
    """Return the shapes of an entry's weights; None where they cannot be read: training says what is wrong."""
    try:
        source = local_source(entry) or _cached(entry)
        if source is not None and source.suffix == ".gguf":
            return _gguf(source)
        found = {name: shape for file in _weights(source) for name, shape in _head(file).items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, struct.error, UsageError):
        return None
    return found or _at_the_hub(entry)


def _weights(directory: Path | None) -> list[Path]:
    return [] if directory is None else list(directory.glob("*.safetensors"))


def _at_the_hub(entry: Entry) -> Shapes | None:
    if entry.hub is None or entry.revision is None:
        return None
    try:
        return _asked(entry.hub, entry.revision)
    except Exception:  # noqa: BLE001 - offline, away, not permitted, no safetensors: there is no estimate
        return None


@lru_cache(maxsize=32)
def _asked(repository: str, revision: str) -> Shapes:
    """Ask the hub for the heads of a model's files: kilobytes. A revision never changes, so they are kept."""
    from huggingface_hub import HfApi  # noqa: PLC0415 - of the extra
    from huggingface_hub.errors import EntryNotFoundError  # noqa: PLC0415
    from huggingface_hub.utils import disable_progress_bars  # noqa: PLC0415

    api = HfApi()

    def read(file: str) -> dict[str, list[int]]:
        head = api.parse_safetensors_file_metadata(repository, file, revision=revision, timeout=_PATIENCE)
        return {name: list(tensor.shape) for name, tensor in head.tensors.items()}

    try:
        return read("model.safetensors")  # first of all: it asks once, where other calls try again and again
    except EntryNotFoundError:
        with disable_progress_bars():
            index = api.hf_hub_download(
                repository, "model.safetensors.index.json", revision=revision, etag_timeout=_PATIENCE
            )
    files = sorted(set(json.loads(Path(index).read_bytes())["weight_map"].values()))
    with ThreadPoolExecutor(8) as pool:
        return {name: shape for head in pool.map(read, files) for name, shape in head.items()}


def _cached(entry: Entry) -> Path | None:
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - of the extra

    assert entry.hub is not None  # noqa: S101 - it has no other source
    found = try_to_load_from_cache(entry.hub, "config.json", revision=entry.revision)
    return Path(found).parent if isinstance(found, str) else None


def _head(file: Path) -> dict[str, list[int]]:
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        head = json.loads(opened.read(min(length, _LONGEST_HEAD)))
    return {name: facts["shape"] for name, facts in head.items() if name != "__metadata__"}


def _gguf(file: Path) -> dict[str, list[int]]:
    from gguf import GGUFReader  # noqa: PLC0415 - of the extra

    return {tensor.name: [int(size) for size in reversed(tensor.shape)] for tensor in GGUFReader(file).tensors}


def fitting(entry: Entry, load: Load, device: Device, shapes: Shapes | None) -> Recipe:
    """Return the run's numbers, with as many rows in memory at once as may fit on a device.

    Raises:
        TrainingFailed: not even one row at a time does; says what would.
    """
    numbers, half = load.recipe, device.kind == "cuda"
    memory, asked = device.memory, entry.resources
    if device == CLUSTER and asked.gpus == 0:
        memory = asked.memory
    if shapes is None or memory is None:
        return numbers
    while True:
        least = replace(load, recipe=numbers)
        needed = need(entry, shapes, least, half=half)
        if needed.total <= memory:
            return numbers
        smaller = numbers.smaller()
        if smaller is None:
            break
        numbers = smaller
    options = what_would_fit(entry, shapes, least, half=half, memory=memory)
    options = [f"{words} in the server's catalogue" for words in options]
    lacks, larger = f"{device} does not have that", f"a device with {math.ceil(needed.total / GIB)} GiB"
    if device == CLUSTER:
        lacks = f"its resources ask the cluster for {_size(memory)}"
        larger = f"resources of memory: {math.ceil(needed.total / GIB)}GiB in the server's catalogue"
    raise TrainingFailed(
        NOT_ENOUGH,
        f"Training {entry.source} needs at least {_size(needed.total)}, one row at a time (weights "
        f"{_size(needed.weights)}, what is trained {_size(needed.trained)}, activations {_size(needed.activations)}); "
        f"{lacks}. What would fit: {'; '.join([*options, larger])}, or a smaller model.",
        "model",
    )


def _size(number: int) -> str:
    return f"{number / GIB:.1f} GiB"
