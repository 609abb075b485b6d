"""The shapes of a base model's weights, read from the heads of their files: nothing is loaded."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

from reconciler.errors import UsageError
from reconciler.server.trainers.base import TrainingFailed
from reconciler.server.trainers.trl.catalogue import Entry, local_source
from reconciler.server.trainers.trl.devices import GIB, Device
from reconciler.server.trainers.trl.memory import Load, Shapes, need, what_would_fit
from reconciler.server.trainers.trl.recipe import Recipe

NOT_ENOUGH = "insufficient_memory"
_LONGEST_HEAD = 100 * 1024**2


def shapes_of(entry: Entry) -> Shapes | None:
    """Return the shapes of an entry's weights; None where they are not on this machine, or cannot be read."""
    try:
        source = local_source(entry) or _cached(entry)
        if source is None:
            return None
        if source.suffix == ".gguf":
            return _gguf(source)
        return {name: shape for file in source.glob("*.safetensors") for name, shape in _head(file).items()} or None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, struct.error, UsageError):
        return None  # training says what is wrong with it


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
    if shapes is None or device.memory is None:
        return numbers
    while True:
        least = Load(load.method, numbers, load.tokens)
        needed = need(entry, shapes, least, half=half)
        if needed.total <= device.memory:
            return numbers
        smaller = numbers.smaller()
        if smaller is None:
            break
        numbers = smaller
    options = what_would_fit(entry, shapes, least, half=half, memory=device.memory)
    larger = f"a device with {math.ceil(needed.total / GIB)} GiB, or a smaller model"
    raise TrainingFailed(
        NOT_ENOUGH,
        f"Training {entry.source} needs at least {_size(needed.total)}, one row at a time (weights "
        f"{_size(needed.weights)}, what is trained {_size(needed.trained)}, activations {_size(needed.activations)}); "
        f"{device} does not have that. What would fit: "
        + "; ".join([f"{words} in the server's catalogue" for words in options] + [larger])
        + ".",
        "model",
    )


def _size(number: int) -> str:
    return f"{number / GIB:.1f} GiB"
