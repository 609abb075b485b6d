"""One job's several workers: ``python -m reconciler.server.trainers.trl.spread``, a driver of Ray Train. Loads Ray.

It is a job of Ray's own, begun by the actor of ours on its node: where it ends, for whatever reason, Ray ends what it
started, and frees what that held. Its errand comes as the first line of its input, whose end is its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping

from pydantic import BaseModel

from reconciler.server.trainers.trl.catalogue import Resources
from reconciler.server.trainers.trl.child import Parent, forget_scratch
from reconciler.server.trainers.trl.faults import ENDED_FOR_MEMORY, MEMORY, said
from reconciler.server.trainers.trl.order import Order, Told

MODULE = "reconciler.server.trainers.trl.spread"
_SETTINGS = {
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # it would start workers again, from where they have begun
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_USAGE_STATS_ENABLED": "0",
}
END = "end"
"""The line that ends the workers at once. A job that is killed leaves a process of Ray Train's on some clusters."""
_GOING = 10.0
"""Seconds that the workers have to end before Ray sees that nobody wants them."""


class Errand(BaseModel):
    """What the workers are started for, and where the actor is found that they tell what happens."""

    order: Order
    environment: Mapping[str, str]
    address: str
    actor: str
    namespace: str


def bundle(asked: Resources) -> dict[str, float]:
    """Return what one worker asks for, in Ray's words."""
    memory = {} if asked.memory is None else {"memory": int(asked.memory)}
    return {"CPU": asked.cpus, "GPU": asked.gpus or 0, **memory}


def main() -> None:
    """Run the workers of an errand until all have ended; print why they did, where that is not as it should be."""
    parent = Parent()  # while it is there, so is the pipe, and nobody else prints to it
    errand = Errand.model_validate_json(sys.stdin.readline())
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # blocked in the thread of Ray's that started this
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_end_with_input, daemon=True).start()
    os.environ.update(_SETTINGS)
    import ray  # noqa: PLC0415 - loads for a second

    ray.init(errand.address, logging_level="ERROR")
    try:
        _fit(errand)
    except Exception as error:  # noqa: BLE001 - whatever it is, the job shows it, and goes on
        words = why(error)
        if starved(error):
            told = Told(kind="failed", code=MEMORY, message=ENDED_FOR_MEMORY)
            parent.tell(told.model_dump_json(exclude_defaults=True))
        ray.shutdown()
        print(words, file=sys.stderr, flush=True)  # noqa: T201 - the last words
        os._exit(1)
    ray.shutdown()
    del parent
    os._exit(0)


def _fit(errand: Errand) -> None:
    from ray.train import FailureConfig, RunConfig, ScalingConfig  # noqa: PLC0415
    from ray.train.torch import TorchTrainer  # noqa: PLC0415

    from reconciler.server.trainers.trl.worker import work  # noqa: PLC0415

    asked = errand.order.entry.resources
    TorchTrainer(
        work,
        train_loop_config={"errand": errand.model_dump_json()},
        scaling_config=ScalingConfig(
            num_workers=asked.workers, use_gpu=bool(asked.gpus), resources_per_worker=bundle(asked)
        ),
        run_config=RunConfig(
            name="ray",
            storage_path=str(errand.order.workdir),
            failure_config=FailureConfig(max_failures=0, max_preemption_failures=0),
            worker_runtime_env={"env_vars": dict(errand.environment)},
        ),
    ).fit()


def why(error: BaseException) -> str:
    """Say in a line what ended the workers."""
    failures = getattr(error, "worker_failures", {})
    for rank, failure in failures.items():
        return f"worker {rank}: {said(failure, 150)}"
    return f"{type(error).__name__}: {said(error, 150)}"


def starved(error: BaseException) -> bool:
    """Whether Ray ended a worker because its node's memory ran out."""
    failures = getattr(error, "worker_failures", {}).values()
    causes = [getattr(failure, "health_check_failure", None) for failure in failures]
    return any(type(cause).__name__ == "OutOfMemoryError" for cause in causes)


def _end_with_input() -> None:
    """Interrupt Ray Train once it is to end, or nobody is there any more, so that it ends its workers; then end."""
    for line in sys.stdin:
        if line.strip() == END:
            break
    with contextlib.suppress(OSError):
        os.kill(os.getpid(), signal.SIGINT)
    time.sleep(_GOING)
    forget_scratch()
    os._exit(1)


if __name__ == "__main__":
    main()
