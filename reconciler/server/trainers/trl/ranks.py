"""What several processes that train one model together have to agree on. Alone, there is nothing to agree on.

Ranks count from 0; the first leads: it alone tells, publishes and tracks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import distributed


def several() -> bool:
    """Whether this process trains with others."""
    return bool(distributed.is_available() and distributed.is_initialized())


def leads() -> bool:
    """Whether this process speaks for all."""
    return not several() or distributed.get_rank() == 0


def agree(flags: Sequence[bool]) -> list[bool]:
    """Return what the leader has; all ask at the same place, or wait for each other for ever."""
    if not several():
        return list(flags)
    place = f"cuda:{torch.cuda.current_device()}" if distributed.get_backend() == "nccl" else "cpu"
    said = torch.tensor(flags, dtype=torch.uint8, device=place)
    distributed.broadcast(said, src=0)
    return [bool(flag) for flag in said.tolist()]


def meet() -> None:
    """Wait until all are here."""
    if several():
        distributed.barrier()


@contextlib.contextmanager
def first() -> Iterator[None]:
    """Let the leader go through a block before the others do: what it makes there is then found by all."""
    if not leads():
        meet()
    yield
    if leads():
        meet()
