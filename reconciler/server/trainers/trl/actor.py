"""On a cluster's node: holds one job's process, and writes what it says where the server reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reconciler.server.trainers.trl.child import Child
from reconciler.server.trainers.trl.executor import start_child
from reconciler.server.trainers.trl.order import Order, Told

ENDED = "ended"
"""The kind of the last line: what it tells is the exit code, as ``step``, and the last words."""
_GOING = 20.0


def told_file(workdir: Path) -> Path:
    """Return where a job's process is heard; it is there as long as not all of it was."""
    return workdir / "told.jsonl"


class Actor:
    """``train`` takes one thread of Ray's until the process has ended, the other calls another. It ends by itself."""

    def __init__(self) -> None:
        self._child: Child | None = None
        self._stop = False

    def train(self, order: str, environment: Mapping[str, str]) -> None:
        """Run the process of an order. Where this ends too early, the process does: its input is gone."""
        import ray  # noqa: PLC0415 - of the extra

        given = Order.model_validate_json(order)
        child = self._child = start_child(given, environment)
        if self._stop:
            child.tell("stop")
        with told_file(given.workdir).open("ab", buffering=0) as file:
            while (line := child.hear(1.0)) is not None:
                if line:
                    file.write(line)
            end = Told(kind=ENDED, step=child.end(_GOING), message=child.last_words())
            file.write(end.model_dump_json(exclude_defaults=True).encode() + b"\n")
        ray.actor.exit_actor()

    def request_stop(self) -> None:
        """Ask the process to save and end."""
        self._stop = True
        if self._child is not None:
            self._child.tell("stop")

    def ping(self) -> None:
        """Answer: the node is there."""
