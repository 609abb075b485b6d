"""What TRL is told of a run's numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_trl_watch import order
from tiny import needs_engine

from reconciler.server.trainers.trl.catalogue import Entry
from reconciler.server.trainers.trl.faults import Failure
from reconciler.server.trainers.trl.recipe import Recipe

pytestmark = [pytest.mark.slow, needs_engine]


def test_fewer_rows_in_memory_at_once_are_fewer_of_the_validation_file_too(tmp_path: Path) -> None:
    from reconciler.server.trainers.trl.methods import _common  # noqa: PLC0415 - loads torch and TRL

    numbers = Recipe(learning_rate=1, epochs=1, batch=6, held=8, eval_samples=3)
    sizes = []
    for each in (numbers, numbers.holding(5), numbers.holding(1)):
        told = _common(order(tmp_path).model_copy(update={"recipe": each}))
        names = ("per_device_train_batch_size", "gradient_accumulation_steps", "per_device_eval_batch_size")
        sizes.append(tuple(told[name] for name in names))
    assert sizes == [(6, 1, 6), (3, 2, 3), (1, 6, 3)]


def test_whole_models_of_float16_are_not_begun_on_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch  # noqa: PLC0415 - of the extra

    from reconciler.server.trainers.trl.methods import make_trainer  # noqa: PLC0415 - loads torch and TRL

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    entry = Entry(path="x", tuning="full", dtype="float16")
    with pytest.raises(Failure, match="needs dtype bfloat16 or float32") as caught:
        make_trainer(order(tmp_path).model_copy(update={"entry": entry}), None, {}, print)
    assert (caught.value.code, caught.value.param) == ("model_not_available", "model")
