"""What both sides of ``learning.py`` note while they train: how fast it goes, and how much memory of GPUs it takes."""

from __future__ import annotations

import subprocess
import threading
import time
from typing import Self

_EVERY = 0.2
_USED = ("nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits")


def used() -> float:
    """Return the memory that is in use on all GPUs, in MB; 0 where there is none."""
    try:
        said = subprocess.run(_USED, capture_output=True, text=True, check=True, timeout=10).stdout
        return sum(map(float, said.split()))
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0.0


class Noted:
    """One training, from its start to its end. Say each step once it is done, or once it is seen to be."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._steps: list[tuple[int, float]] = []
        self._before = self._most = used()
        self._over = threading.Event()
        self._looking = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        if self._before:  # a GPU with a driver always has some in use
            self._looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def step(self, number: int) -> None:
        """Note a step; one that was noted already is not another."""
        if not self._steps or number > self._steps[-1][0]:
            self._steps.append((number, time.monotonic()))

    def facts(self, tokens: int) -> dict[str, float]:
        """Return tokens a second from the first step to the last, and MB of GPU memory beyond what was in use before.

        Where only one step was seen the time of the whole training counts.
        """
        (first, since), (last, until) = self._steps[0], self._steps[-1]
        if first == last:
            share, seconds = 1.0, time.monotonic() - self._began
        else:
            share, seconds = (last - first) / last, until - since
        return {"tokens_a_second": tokens * share / seconds, "gpu": self._most - self._before}

    def _look(self) -> None:
        while not self._over.wait(_EVERY):
            self._most = max(self._most, used())
