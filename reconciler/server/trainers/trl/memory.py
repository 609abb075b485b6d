"""How much memory training needs at least, from the shapes of a model's weights. Pure.

::

    weights       parameters x bytes of the dtype (float32 4, half 2, qlora half a byte)
    trained       LoRA: rank x (in + out) of each layer it is put on, x 16 bytes (float32, gradient, Adam's two)
                  full: parameters x 3 x bytes of the dtype (gradient, Adam's two); dpo: the weights once more
    activations   tokens at once x bytes x what all layers put out (gradient_checkpointing: what one block's do, and
                  what goes into each)
    libraries     half a GiB

Tokens at once are micro_batch rows (reinforcement: answers) of the training file's mean length, at most ``context``. It
is a floor: what is refused by it would not have fitted. What passes may still run out of memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconciler.api.types import MethodType
from reconciler.server.trainers.trl.catalogue import Entry
from reconciler.server.trainers.trl.recipe import Recipe

Shapes = Mapping[str, Sequence[int]]
"""The size of each weight by its name; a matrix is (out, in)."""
_LIBRARIES = 512 * 1024**2
_WIDTH = {"float32": 4, "bfloat16": 2, "float16": 2}
_VOCABULARY = re.compile(r"embed|token_embd|wte|lm_head|^output\.")


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes, by what they are for."""

    weights: int
    trained: int
    activations: int

    @property
    def total(self) -> int:
        """All of them, with what the libraries take."""
        return self.weights + self.trained + self.activations + _LIBRARIES


@dataclass(frozen=True, slots=True)
class Load:
    """What a run brings: its method, its numbers, and how many tokens its rows have on average.

    ``whole`` says that it goes on from a whole model, which no adapter can be put on.
    """

    method: MethodType
    recipe: Recipe
    tokens: float
    whole: bool = False


def need(entry: Entry, shapes: Shapes, load: Load, *, half: bool) -> Need:
    """Estimate what a run needs. ``half`` says whether dtype auto is of half precision here."""
    width = _WIDTH[entry.dtype] if entry.dtype != "auto" else 2 if half else 4
    parameters = sum(_count(shape) for shape in shapes.values())
    layers = {name: shape for name, shape in shapes.items() if len(shape) == 2 and not _VOCABULARY.search(name)}
    if entry.tuning == "full":
        trained = parameters * width * (4 if load.method == "dpo" else 3)
    else:
        targets = entry.lora.targets
        chosen = [s for name, s in layers.items() if targets == "all-linear" or _is_one_of(name, targets)]
        trained = 16 * entry.lora.rank * sum(map(sum, chosen))
    weights = parameters // 2 if entry.tuning == "qlora" else parameters * width
    tokens = int(load.recipe.micro * min(load.tokens, entry.context))
    return Need(weights, trained, tokens * width * _numbers_a_token(entry, shapes, layers))


def _numbers_a_token(entry: Entry, shapes: Shapes, layers: Shapes) -> int:
    """How many numbers are kept for each token until the gradient has passed."""
    put_out = sum(shape[0] for shape in layers.values())
    blocks = len({found[0] for name in layers if (found := re.search(r"\.\d+\.", name))})
    if not entry.gradient_checkpointing or not blocks:
        return put_out
    return put_out // blocks + blocks * min(min(shape) for shape in shapes.values() if len(shape) == 2)


def _count(shape: Sequence[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def _is_one_of(name: str, targets: Sequence[str]) -> bool:
    return any(target in name.split(".") for target in targets)


def what_would_fit(entry: Entry, shapes: Shapes, load: Load, *, half: bool, memory: int) -> list[str]:
    """Return the changes to the catalogue's entry that would make it fit, the smallest first."""
    tries: list[tuple[str, dict[str, object]]] = [
        ("gradient_checkpointing: true", {"gradient_checkpointing": True}),
        ("tuning: lora", {"tuning": "lora"}),
        ("tuning: lora with gradient_checkpointing: true", {"tuning": "lora", "gradient_checkpointing": True}),
    ]
    if half:
        tries += [("tuning: qlora", {"tuning": "qlora", "gradient_checkpointing": True})]
    changed = [
        (words, entry.model_copy(update=change)) for words, change in tries if not (load.whole and "tuning" in change)
    ]
    return [w for w, other in changed if other != entry and need(other, shapes, load, half=half).total <= memory]
