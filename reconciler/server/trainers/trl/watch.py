"""What happens while TRL trains, told step by step; saves and stops when asked. Loads transformers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from transformers import TrainerCallback

from reconciler.server.trainers.trl import metrics, ranks, shelf
from reconciler.server.trainers.trl.checkpoints import checkpoint, prune, seal
from reconciler.server.trainers.trl.faults import DIVERGED, Failure
from reconciler.server.trainers.trl.order import Order, State, Told, Wishes

_SAVE_EVERY = 600.0
"""Seconds of training that a crash may cost, at most."""
_KEPT_EPOCHS = 3
_OVERFLOWS = 20
"""Steps in a row whose gradients float16 may not hold: each is passed over, and halves a scale that begins at 2^16."""
_OTHERWISE = ", or have dtype bfloat16 or float32 in the server's catalogue"


class Dropped(Exception):
    """The server wants no more of this run."""


class Watch(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Decides when TRL looks at the validation file and saves, and tells what it did.

    The numbers of a step are told once the step is over for good: with those of the validation file, where it was
    looked at. Of several processes each has one; the leader's says when to save and stop. ``base`` is the step
    that the server goes on from where it has recorded none since.
    """

    def __init__(
        self,
        order: Order,
        wishes: Wishes,
        base: int,
        tell: Callable[[Told], None],
        *,
        validates: bool,
    ) -> None:
        self._order = order
        self._wishes = wishes
        self._base = base
        self._tell = tell
        self._validates = validates
        # TRL's own count goes on after a pause for reinforcement, and begins again for the others.
        self._before = order.state.tokens if order.state and order.method != "reinforcement" else 0
        self._tokens = order.state.tokens if order.state else 0
        self._pending: Told | None = None
        self._numbers: Mapping[str, float] = {}
        self._saved_at = time.monotonic()
        self._overflows = 0

    @property
    def tokens(self) -> int:
        """How many tokens were learnt from, pauses included."""
        return self._tokens

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401, ARG002
        """Choose what follows the step."""
        self._look()
        epoch_ends = self._epoch_of(state.global_step, state.max_steps) is not None
        interval = self._order.recipe.eval_interval
        due = epoch_ends or (interval is not None and state.global_step % interval == 0)
        control.should_evaluate = self._validates and due
        late = time.monotonic() - self._saved_at > _SAVE_EVERY
        late, stop = ranks.agree([late, ranks.leads() and self._wishes.stop])
        control.should_save = epoch_ends or late or stop
        if stop:
            control.should_training_stop = True

    def on_substep_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401, ARG002
        """Some of a step's rows were learnt from."""
        self._look()

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401, ARG002
        """Some rows of the validation file were looked at."""
        self._look()

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401, ARG002
        """A pause that was asked for meanwhile has its step's numbers now, and waits for no other."""
        if ranks.agree([ranks.leads() and self._wishes.stop])[0]:
            control.should_save = control.should_training_stop = True

    def _look(self) -> None:
        """Let go of it all where the run is dropped.

        Raises:
            Dropped: nobody will go on with it.
        """
        if self._wishes.drop:
            raise Dropped

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:  # noqa: ANN401, ARG002
        """Take a step's numbers, or the validation file's, which come after them."""
        logs = logs or {}
        if "loss" in logs:
            self._flush()
            self._judge(state.global_step, logs["loss"], logs.get("grad_norm", 0.0), scaled=args.fp16)
            self._tokens = self._before + int(logs.get("num_tokens", 0))
            numbers = metrics.trained(self._order.method, logs)
            self._pending = Told(kind="step", step=state.global_step, total=state.max_steps, metrics=numbers)
        elif self._pending is not None and any(name.startswith("eval_") for name in logs):
            merged = {**self._pending.metrics, **metrics.validated(self._order.method, logs)}
            self._pending = self._pending.model_copy(update={"metrics": merged})

    def _judge(self, step: int, loss: float, gradient: float, *, scaled: bool) -> None:
        """Fail where training diverged. Where losses are ``scaled``, for float16, gradients too large find the scale.

        Raises:
            Failure: it did.
        """
        self._overflows = 0 if math.isfinite(gradient) else self._overflows + 1
        if not math.isfinite(loss) or self._overflows > (_OVERFLOWS if scaled else 0):
            wrong = "gradients are no numbers" if math.isfinite(loss) else "loss is no number"
            raise Failure(
                DIVERGED,
                f"Training diverged at step {step}: the {wrong} any more. Lower learning_rate_multiplier"
                f"{_OTHERWISE if scaled else ''}.",
                "hyperparameters.learning_rate_multiplier",
            )

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401, ARG002
        """The step before is over."""
        self._flush()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401, ARG002
        """Seal and publish what TRL has saved, once all processes have."""
        self._flush()
        self._saved_at = time.monotonic()
        ranks.meet()
        if not ranks.leads():
            return
        step, total = state.global_step, state.max_steps
        seal(self._order.workdir, State(step=step, total=total, tokens=self._tokens, micro=self._order.recipe.held))
        shelf.publish(checkpoint(self._order.workdir, step), self._order.place, step, self._order.card)
        per_epoch = total // self._order.recipe.epochs
        shelf.prune(self._order.place, {step, *(per_epoch * n for n in _last_epochs(step, per_epoch))})
        prune(self._order.workdir, max(self._base, self._wishes.kept))
        self._tell(
            Told(
                kind="saved", step=step, total=total, epoch=self._epoch_of(step, total),
                metrics=self._numbers, tokens=self._tokens,
            )
        )  # fmt: skip

    def _flush(self) -> None:
        if self._pending is not None:
            self._numbers = self._pending.metrics
            self._tell(self._pending)
            self._pending = None

    def _epoch_of(self, step: int, total: int) -> int | None:
        """Return the epoch that a step ends, from 1."""
        epochs = self._order.recipe.epochs
        return step * epochs // total if step * epochs % total == 0 else None


def _last_epochs(step: int, per_epoch: int) -> range:
    done = step // per_epoch
    return range(max(1, done - _KEPT_EPOCHS + 1), done + 1)
