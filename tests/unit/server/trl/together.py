"""One of several processes that train orders one after another, without a cluster: ``together.py ORDERS RANK COUNT``.

ORDERS is a JSON list of ``{"order": …, "stop": TIMES or null}``; one that is stopped goes on from there. What is told
goes to ``told.jsonl`` in each order's directory. accelerate spreads models over accelerators alone: where an order asks
for that, the processors are one.
"""

from __future__ import annotations

import json
import os
import sys
from itertools import count
from pathlib import Path
from typing import Any


def main(file: Path, rank: int, size: int) -> None:
    work = json.loads(file.read_text())
    if size > 1:
        _join(file.with_suffix(".store"), rank, size)

    from reconciler.server.trainers.trl import ranks  # noqa: PLC0415 - after the environment
    from reconciler.server.trainers.trl.order import Order  # noqa: PLC0415

    for each in work:
        order = Order.model_validate(each["order"])
        if order.entry.resources.strategy == "fsdp":
            _pretend()
        _train(order, each["stop"])
        ranks.meet()
        if each["stop"] is not None:
            _train(order.model_copy(update={"state": _last(order)}), None)
    os._exit(0)


def _train(order: Any, stop: int | None) -> None:
    from reconciler.server.trainers.trl import ranks  # noqa: PLC0415
    from reconciler.server.trainers.trl.train import train  # noqa: PLC0415

    with (order.workdir / "told.jsonl").open("a") as told:

        def tell(line: Any) -> None:
            if ranks.leads():
                told.write(line.model_dump_json(exclude_defaults=True) + "\n")
                told.flush()

        train(order, _Stop(stop), tell)


class _Stop:
    """Wants a run to stop when it asks so often: after each step, and after the validation that follows some."""

    drop = False
    kept = 0

    def __init__(self, often: int | None) -> None:
        self._often = often
        self._asked = count(1)

    @property
    def stop(self) -> bool:
        return next(self._asked) == self._often


def _last(order: Any) -> Any:
    from reconciler.server.trainers.trl.order import State  # noqa: PLC0415

    lines = map(json.loads, (order.workdir / "told.jsonl").read_text().splitlines())
    saved = [line for line in lines if line["kind"] == "saved"][-1]
    return State(step=saved["step"], total=saved["total"], tokens=saved["tokens"], micro=order.recipe.held)


def _join(store: Path, rank: int, size: int) -> None:
    from torch import distributed  # noqa: PLC0415

    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "ACCELERATE_TORCH_DEVICE": "cpu"}
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)


def _pretend() -> None:
    from accelerate import DistributedType, PartialState  # noqa: PLC0415

    found: Any = PartialState
    found._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_GPU)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
