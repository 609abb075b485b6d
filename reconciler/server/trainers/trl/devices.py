"""The GPUs of this machine, one for each job: a process that saw several would split every batch over them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "CUDA_VISIBLE_DEVICES"
_DRIVER = Path("/proc/driver/nvidia/gpus")


def found(environment: Mapping[str, str], driver: Path = _DRIVER) -> Sequence[str]:
    """Return the GPUs that may be used, as CUDA names them: those of the environment, else all; none is no GPU."""
    if VARIABLE in environment:
        return [name.strip() for name in environment[VARIABLE].split(",") if name.strip() not in {"", "-1"}]
    return [str(number) for number, _ in enumerate(driver.iterdir())] if driver.is_dir() else []


class Devices:
    """Lends each job the GPU that fewest others have. Safe to use from several threads."""

    def __init__(self, names: Sequence[str]) -> None:
        self._used = Counter(dict.fromkeys(names, 0))
        self._lock = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[dict[str, str]]:
        """Lend a GPU for the block; yield the environment in which a process sees it alone."""
        if not self._used:
            yield {}
            return
        with self._lock:
            name = min(self._used, key=lambda each: self._used[each])
            self._used[name] += 1
        try:
            yield {VARIABLE: name}
        finally:
            with self._lock:
                self._used[name] -= 1
