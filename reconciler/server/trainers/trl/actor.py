"""On a cluster's node: holds one job's process, and writes what it says where the server reads it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from reconciler.server.trainers.trl import spread
from reconciler.server.trainers.trl.child import Child
from reconciler.server.trainers.trl.executor import MODULE, start_child
from reconciler.server.trainers.trl.faults import MEMORY
from reconciler.server.trainers.trl.order import DROP, STOP, Order, Told, kept

ENDED = "ended"
"""The kind of the last line: what it tells is the exit code, as ``step``, the last words, and who killed it."""
KILLED = "killed"
"""Somebody did, and nobody says why."""
_GOING = 20.0


def told_file(workdir: Path) -> Path:
    """Return where a job's process is heard; it is there as long as not all of it was."""
    return workdir / "told.jsonl"


class Actor:
    """``train`` takes one thread of Ray's until the process has ended, the other calls another. It ends by itself.

    A job of several workers has a process here that starts them; they call ``arrive``, ``tell``, ``stopping`` and
    ``kept``.
    """

    def __init__(self) -> None:
        self._child: Child | None = None
        self._begun = self._stop = self._placed = self._failed = self._several = False
        self._kept = 0
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()

    def train(self, order: str, environment: Mapping[str, str]) -> None:
        """Run the process of an order, once: every server asks. Where this ends too early, so does the process."""
        with self._lock:
            if self._begun:
                return
            self._begun = True
        import ray  # noqa: PLC0415 - of the extra

        given = Order.model_validate_json(order)
        several = self._several = given.entry.resources.workers > 1
        with told_file(given.workdir).open("ab", buffering=0) as self._file:
            child = self._child = start_child(given, environment, module=spread.MODULE if several else MODULE)
            if several:
                here = ray.get_runtime_context()
                errand = spread.Errand(
                    order=given,
                    environment=environment,
                    address=here.gcs_address,
                    actor=given.job_id,
                    namespace=here.namespace,
                )
                child.tell(errand.model_dump_json())
            self._placed = not several
            if self._stop:
                child.tell(STOP)
            while (line := child.hear(1.0)) is not None:
                if line:
                    self._write(line)
            code, starved = child.end(_GOING), child.starved()
            why = MEMORY if starved else KILLED if starved is None else ""
            end = Told(kind=ENDED, step=code, code=why, message=child.last_words())
            self._write(end.model_dump_json(exclude_defaults=True).encode() + b"\n")
        ray.actor.exit_actor()

    def _write(self, line: bytes) -> None:
        with self._lock:
            if self._file is not None and not self._file.closed:
                self._file.write(line)

    def request_stop(self) -> None:
        """Ask the process to save and end."""
        self._stop = True
        if self._child is not None:
            self._child.tell(STOP)

    def drop(self) -> None:
        """Ask the process to end; several workers save first."""
        self._stop = True
        if self._child is not None:
            self._child.tell(DROP)

    def keep(self, step: int) -> None:
        """Hear that the server has recorded a checkpoint."""
        self._kept = max(self._kept, step)
        if self._child is not None and not self._several:
            self._child.tell(kept(step))

    def give_up(self) -> None:
        """End the process that starts workers, and wait until it has let go of them and of their places."""
        child = self._child
        if child is None or not self._several:
            return
        child.tell(spread.END)
        deadline = time.monotonic() + _GOING
        while child.alive and time.monotonic() < deadline:
            time.sleep(0.1)

    def ping(self) -> bool:
        """Answer: the node is there. Whether the job has its place, too."""
        return self._placed

    def arrive(self) -> None:
        """Hear that the workers have their places."""
        self._placed = True

    def tell(self, line: str) -> None:
        """Write what a worker says. Of several that fail the first knows why: the others lost it."""
        if not self._failed:
            self._failed = Told.model_validate_json(line).kind == "failed"
            self._write(line.encode() + b"\n")

    def stopping(self) -> bool:
        """Whether the workers are to save and end."""
        return self._stop

    def kept(self) -> int:
        """Return the last step that the server has recorded, 0 for none."""
        return self._kept
