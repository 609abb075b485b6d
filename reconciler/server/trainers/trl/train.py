"""The training subprocess: ``python -m reconciler.server.trainers.trl.train ORDER.json``. Loads torch and TRL."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reconciler.server.trainers.trl import metrics
from reconciler.server.trainers.trl.checkpoints import checkpoint, drop_later, newest
from reconciler.server.trainers.trl.child import Loading, Parent
from reconciler.server.trainers.trl.dialogue import Dialogue
from reconciler.server.trainers.trl.faults import Failure, failure_of
from reconciler.server.trainers.trl.order import STOP, Order, Said, State, Told, Wishes
from reconciler.server.trainers.trl.rows import Reader, Row, read
from reconciler.server.trainers.trl.template import EFFORT, effort_refused
from reconciler.server.trainers.trl.tracking.service import Status
from reconciler.server.trainers.trl.tracking.tracker import Tracker, services

Tell = Callable[[Told], None]


def main(file: str) -> None:
    """Train as the order says, and tell the server what happens."""
    parent = Parent()
    said = Said()
    parent.listen(said.hear)
    signal.signal(signal.SIGTERM, lambda *_: said.hear(STOP))  # whoever shuts a machine down tells all processes
    order = Order.model_validate_json(Path(file).read_bytes())

    def tell(told: Told) -> None:
        parent.tell(told.model_dump_json(exclude_defaults=True))

    with alone(order.workdir):
        try:
            train(order, said, tell)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the job has to show it
            traceback.print_exc()
            failure = failure_of(error)
            tell(Told(kind="failed", code=failure.code, message=str(failure), param=failure.param))
    os._exit(0)  # all is said and on disk; torch takes seconds to take itself down


def train(order: Order, wishes: Wishes, tell: Tell) -> None:
    """Train as an order says, until it is done or is to end; several processes, each as one of them."""
    with Loading():
        import torch  # noqa: PLC0415 - after the pipe is safe from what libraries print
        from transformers import set_seed  # noqa: PLC0415

        from reconciler.server.trainers.trl import ranks  # noqa: PLC0415
        from reconciler.server.trainers.trl.methods import make_trainer  # noqa: PLC0415
        from reconciler.server.trainers.trl.watch import Dropped, Watch  # noqa: PLC0415
        from reconciler.server.trainers.trl.weights import load_tokenizer  # noqa: PLC0415

    if order.threads is not None:
        torch.set_num_threads(order.threads)
    set_seed(order.seed)

    def note(words: str) -> None:
        tell(Told(kind="note", message=words))

    asked = order.state.step if order.state is not None else 0  # what the server counts on
    with ranks.first():
        tokenizer = load_tokenizer(order.entry, order.cache)
        state = newest(order.workdir, asked)
        if ranks.leads():
            drop_later(order.workdir, state.step if state is not None else 0)
    if (words := _lost(asked, state)) is not None:
        note(words)
    order = order.model_copy(update={"state": state})
    rows = _rows(order, tokenizer, note)
    trainer = make_trainer(order, tokenizer, rows, note)
    last = checkpoint(order.workdir, state.step) if state is not None else None
    tell(Told(kind="began"))
    tracker = Tracker(services(order, _history(order, last)) if ranks.leads() else [], note)

    def tell_both(told: Told) -> None:
        tell(told)
        if told.kind == "step":
            tracker.show(told.step, told.metrics)

    trainer.add_callback(Watch(order, wishes, asked, tell_both, validates=rows["valid"] is not None))
    status: Status = "failed"
    try:
        trainer.train(resume_from_checkpoint=last and str(last))
        done = trainer.state.global_step == trainer.state.max_steps
        status = "finished" if done else "killed"
    except Dropped:
        done, status = False, "killed"
    finally:
        tracker.finish(status)
    if done:
        tell(Told(kind="done"))


def _rows(order: Order, tokenizer: Any, note: Callable[[str], None]) -> dict[str, list[Row] | None]:  # noqa: ANN401
    """Read both files.

    Raises:
        Failure: a row cannot be trained on here, or the model's template knows nothing of an effort.
    """
    entry, effort = order.entry, order.recipe.reasoning_effort
    today = {"strftime_now": datetime.fromtimestamp(order.created_at, UTC).strftime}  # some templates show the date
    dialogue = Dialogue(tokenizer, entry.chat_template, today | ({EFFORT: effort} if effort else {}))
    if words := effort_refused(effort, entry, dialogue.template):
        raise Failure("unsupported_parameter", words, f"method.{order.method}.hyperparameters.{EFFORT}")
    reader = Reader(tokenizer, dialogue, entry.context, entry.answer)
    turn = {"supervised": reader.supervised, "dpo": reader.dpo, "reinforcement": reader.reinforcement}[order.method]
    train = read(order.training_file, "training_file", turn)
    valid = read(order.validation_file, "validation_file", turn) if order.validation_file else None
    if reader.cut:
        note(f"Rows longer than the model's {entry.context} tokens were cut at their end: {reader.cut}.")
    return {"train": train, "valid": valid}


def _history(order: Order, last: Path | None) -> Mapping[int, Mapping[str, float]]:
    """Return the numbers of the steps before, which TRL saves with each checkpoint."""
    if last is None:
        return {}
    state = json.loads((last / "trainer_state.json").read_text(encoding="utf-8"))
    return metrics.history(order.method, state["log_history"])


def _lost(asked: int, state: State | None) -> str | None:
    """Say that the checkpoint that was asked for is not there, or not whole; what follows it is learnt again."""
    found = state.step if state is not None else 0
    if found == asked:
        return None
    where = f"step {found}" if found else "the start"
    return f"The checkpoint of step {asked} is lost; training goes on from {where}, to the same numbers."


@contextlib.contextmanager
def alone(workdir: Path) -> Iterator[None]:
    """Wait until the process before this one, whose server was killed, has ended."""
    with (workdir / "lock").open("w") as lock:
        if sys.platform != "win32":
            import fcntl  # noqa: PLC0415 - not on Windows

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    main(sys.argv[1])
