"""The answering subprocess: ``python -m reconciler.server.trainers.trl.sample``."""

from __future__ import annotations

import queue
import threading
import traceback

from reconciler.server.trainers.trl.child import Loading, Parent
from reconciler.server.trainers.trl.dialogue import Unsupported
from reconciler.server.trainers.trl.faults import failure_of
from reconciler.server.trainers.trl.sampler import Asked, Said


def main() -> None:
    """Answer questions, one after the other, until the server is gone."""
    parent = Parent()
    questions: queue.SimpleQueue[str] = queue.SimpleQueue()
    cancelled = threading.Event()

    def hear(line: str) -> None:
        if line.startswith("{"):
            questions.put(line)
        else:
            cancelled.set()

    parent.listen(hear)
    with Loading():
        from reconciler.server.trainers.trl.generate import Models  # noqa: PLC0415 - the pipe is safe from libraries now

    def tell(said: Said) -> None:
        parent.tell(said.model_dump_json(exclude_defaults=True))

    models = Models(cancelled, lambda text: tell(Said(kind="piece", text=text)))
    while True:
        asked = Asked.model_validate_json(questions.get())
        cancelled.clear()
        try:
            tell(models.answer(asked))
        except Unsupported as error:
            tell(Said(kind="refused", code="invalid_value", text=str(error), param="messages"))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the client has to be told
            traceback.print_exc()
            failure = failure_of(error, "answering")
            tell(Said(kind="refused", code=failure.code, text=str(failure), param=failure.param))


if __name__ == "__main__":
    main()
