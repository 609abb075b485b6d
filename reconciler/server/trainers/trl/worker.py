"""One of a job's several processes on a cluster: the function that Ray Train calls in each. Loads Ray."""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from reconciler.server.trainers.trl.faults import SERVER_ERROR, failure_of, is_lost
from reconciler.server.trainers.trl.order import Told
from reconciler.server.trainers.trl.spread import Errand
from reconciler.server.trainers.trl.train import alone, train

_AGAIN = 0.5


class Ended(Exception):
    """This worker failed; what it has to say has been told."""


class _Wishes:
    """What the server wants, as the actor knows it. A run that is dropped stops, or is killed where that takes long."""

    drop = False

    def __init__(self, ask: Callable[[Any], Any], actor: Any) -> None:  # noqa: ANN401 - Ray's handles are not typed
        self._ask = ask
        self._actor = actor

    @property
    def stop(self) -> bool:
        return bool(self._ask(self._actor.stopping))

    @property
    def kept(self) -> int:
        return int(self._ask(self._actor.kept))


def work(given: Mapping[str, Any]) -> None:
    """Train as one of several. The leader alone tells what happens, each tells what it fails by.

    Raises:
        Ended: it failed, or lost another; Ray Train ends the rest.
    """
    import ray  # noqa: PLC0415 - of the extra

    from reconciler.server.trainers.trl import ranks  # noqa: PLC0415 - loads torch

    errand = Errand.model_validate_json(given["errand"])
    actor = ray.get_actor(errand.actor, namespace=errand.namespace)

    def ask(method: Any, *words: str) -> Any:  # noqa: ANN401 - Ray's handles are not typed
        while True:
            try:
                return ray.get(method.remote(*words))
            except ray.exceptions.ActorUnavailableError:  # for a moment; said twice is no harm
                time.sleep(_AGAIN)
            except ray.exceptions.RayActorError:
                os._exit(1)  # the job was ended; so is this

    def tell(told: Told) -> None:
        if ranks.leads() or told.kind == "failed":
            ask(actor.tell, told.model_dump_json(exclude_defaults=True))

    ask(actor.arrive)
    with alone(errand.order.workdir) if ranks.leads() else contextlib.nullcontext():
        try:
            train(errand.order, _Wishes(ask, actor), tell)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the job has to show it
            traceback.print_exc()
            failure = failure_of(error)
            if failure.code != SERVER_ERROR or not is_lost(error):
                tell(Told(kind="failed", code=failure.code, message=str(failure), param=failure.param))
            raise Ended(str(failure)) from None
