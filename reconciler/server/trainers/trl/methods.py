"""The three methods as TRL's trainers. Loads torch and TRL."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.utils import RepeatSampler, pad

from reconciler.server.trainers.trl.catalogue import Entry
from reconciler.server.trainers.trl.dialogue import tools_of
from reconciler.server.trainers.trl.faults import Failure
from reconciler.server.trainers.trl.grammar import Held, held_by
from reconciler.server.trainers.trl.order import Order
from reconciler.server.trainers.trl.rewards import reward_function
from reconciler.server.trainers.trl.rows import IGNORED, Row
from reconciler.server.trainers.trl.shelf import is_adapter
from reconciler.server.trainers.trl.validation import Whole
from reconciler.server.trainers.trl.weights import UNAVAILABLE, dtype_of, load_base

Note = Callable[[str], None]


def make_trainer(order: Order, tokenizer: Any, rows: Mapping[str, list[Row] | None], note: Note) -> Any:  # noqa: ANN401
    """Return TRL's trainer for a run. ``rows`` has ``train``, and ``valid`` where there is a validation file.

    Raises:
        Failure: what the catalogue says cannot be done here.
    """
    if order.entry.tuning == "full" and _scaled(order.entry):  # torch scales no gradients of float16's own
        raise Failure(UNAVAILABLE, "tuning: full on a GPU needs dtype bfloat16 or float32, not float16.", "model")
    model, adapter = _model(order)
    train, valid = rows["train"], rows["valid"]
    given = {
        "model": model,
        "peft_config": adapter,
        "processing_class": tokenizer,
        "train_dataset": _dataset(train),
        "eval_dataset": _dataset(valid),
    }
    make = {"supervised": _supervised, "dpo": _dpo, "reinforcement": _reinforcement}[order.method]
    trainer = make(order, given, note)
    if order.entry.resources.strategy == "fsdp" and not trainer.is_fsdp_enabled:  # accelerate says nothing
        raise Failure(UNAVAILABLE, "strategy: fsdp needs a GPU for each worker; without, leave it out.", "model")
    return trainer


def _dataset(rows: list[Row] | None) -> Dataset | None:
    """Put rows as TRL reads them. By way of Python's numbers, or for a digest, they would take many times as much."""
    if not rows:
        return None
    return Dataset(pa.table({key: _column([row[key] for row in rows]) for key in rows[0]}), fingerprint="rows")


def _column(values: list[Any]) -> Any:  # noqa: ANN401 - Arrow is not typed
    if not isinstance(values[0], array):
        return pa.array(values)
    ends, numbers = array("i", [0]), array("i")
    for each in values:
        numbers.extend(each)
        ends.append(len(numbers))
    return pa.ListArray.from_arrays(_numbers(ends), _numbers(numbers))


def _numbers(held: array[int]) -> Any:  # noqa: ANN401
    return pa.Array.from_buffers(pa.int32(), len(held), [None, pa.py_buffer(held)])


class _Taught(Whole, SFTTrainer):  # type: ignore[misc]  # TRL is not typed
    """Its loss is a mean of tokens."""

    def holds(self, inputs: Any) -> tuple[int, int]:  # noqa: ANN401
        tokens = int((inputs["labels"][:, 1:] != IGNORED).sum())
        return tokens, tokens


def _supervised(order: Order, given: dict[str, Any], _: Note) -> Any:  # noqa: ANN401
    return _Taught(**given, args=SFTConfig(**_common(order), max_length=None))


class _Compared(Whole, DPOTrainer):  # type: ignore[misc]
    """Takes rows that are tokens already."""

    def holds(self, inputs: Any) -> tuple[int, int]:  # noqa: ANN401
        rows = len(inputs["completion_mask"]) // 2  # the preferred ones, whose tokens are judged, come first
        return rows, int(inputs["completion_mask"][:rows, 1:].sum())

    def _prepare_dataset(self, dataset: Dataset, *_: object) -> Dataset:
        return dataset


@dataclass
class _Outputs(DataCollatorForPreference):  # type: ignore[misc]
    """Compares what the assistant says; what tools answer in between is read only."""

    def torch_call(self, examples: list[Row]) -> Row:
        masks = [
            torch.tensor([0] * len(each["prompt_ids"]) + each[name])
            for name in ("chosen_mask", "rejected_mask")
            for each in examples
        ]
        return {**super().torch_call(examples), "completion_mask": pad(masks, padding_value=0, padding_side="right")}


def _dpo(order: Order, given: dict[str, Any], _: Note) -> Any:  # noqa: ANN401
    outputs = _Outputs(pad_token_id=given["processing_class"].pad_token_id)
    args = DPOConfig(**_common(order), max_length=None, beta=order.recipe.beta, remove_unused_columns=False)
    whole = order.entry.tuning == "full"  # TRL would load the newest of a hub's model, not the commit
    before = load_base(order.entry, order.cache, order.parent) if whole else None
    return _Compared(**given, ref_model=before, args=args, data_collator=outputs)


class _Prompts(RepeatSampler):  # type: ignore[misc]
    """Shuffles by the number of the epoch, so that a run that goes on finds the order of one that was not broken."""

    def set_epoch(self, epoch: int) -> None:
        self.generator.manual_seed(self.seed + epoch)


class _Rewarded(Whole, GRPOTrainer):  # type: ignore[misc]
    """Takes its prompts in an order that can be found again, and holds answers to a schema."""

    def __init__(self, held: Held | None, **given: Any) -> None:  # noqa: ANN401
        super().__init__(**given)
        self._held = held
        if held is not None:
            from reconciler.server.trainers.trl.structure import Holder  # noqa: PLC0415 - only where it is asked for

            self._holder = Holder(self.processing_class, self.eos_token_ids, "method.reinforcement.response_format")

    def holds(self, inputs: Any) -> tuple[int, int]:  # noqa: ANN401
        return len(inputs), 0

    def _generate_and_score_completions(self, inputs: Sequence[Row]) -> Any:  # noqa: ANN401
        if self._held is None:
            return super()._generate_and_score_completions(inputs)
        grammars = [self._held.grammar(tools_of(json.loads(each["item"]))) for each in inputs]
        with self._holder.holding(self.accelerator.unwrap_model(self.model_wrapped), grammars):
            return super()._generate_and_score_completions(inputs)

    def _get_train_sampler(self, dataset: Dataset | None = None) -> _Prompts:
        usual = super()._get_train_sampler(dataset)
        return _Prompts(
            usual.data_source, usual.mini_repeat_count, usual.batch_size, usual.repeat_count, usual.shuffle, usual.seed
        )


def _reinforcement(order: Order, given: dict[str, Any], note: Note) -> Any:  # noqa: ANN401
    recipe = order.recipe
    args = GRPOConfig(
        **_common(order),
        steps_per_generation=recipe.accumulate,  # answers are sampled for a whole step, whose parts then are learnt
        num_generations=recipe.generations,
        num_generations_eval=recipe.eval_samples,
        max_completion_length=order.entry.answer,
        beta=0.0,
    )
    held = held_by(order.settings.get("response_format"))
    if held is not None and held.passed_over:
        note(f"Answers are not held to what this server does not know of the schema: {'; '.join(held.passed_over)}")

    def learns() -> bool:
        return bool(trainer.model.training)

    trainer = _Rewarded(held, **given, args=args, reward_funcs=reward_function(order.settings["grader"], note, learns))
    return trainer


def _common(order: Order) -> dict[str, Any]:
    """What all methods share. Each step is logged; when to save and validate is the watch's to say."""
    recipe, entry = order.recipe, order.entry
    cuda = torch.cuda.is_available()
    return {
        "output_dir": str(order.workdir / "run"),
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": "linear",
        "num_train_epochs": recipe.epochs,
        "per_device_train_batch_size": recipe.micro,
        "per_device_eval_batch_size": recipe.validated,
        "gradient_accumulation_steps": recipe.accumulate,
        "gradient_checkpointing": entry.gradient_checkpointing,
        "seed": order.seed % 2**32,
        "bf16": cuda and dtype_of(entry) == torch.bfloat16,
        "fp16": _scaled(entry),
        "use_cpu": not cuda and not torch.backends.mps.is_available(),
        "dataloader_pin_memory": cuda,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "eval_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        **_sharding(entry),
    }


def _scaled(entry: Entry) -> bool:
    """Whether losses are scaled, so that float16 holds their gradients."""
    return torch.cuda.is_available() and bool(dtype_of(entry) == torch.float16)


def _sharding(entry: Entry) -> dict[str, Any]:
    """How several workers hold the model, where that is in parts. What is saved is whole."""
    if entry.resources.strategy == "ddp":
        return {}
    return {"fsdp": True, "fsdp_config": {"version": 2, "state_dict_type": "FULL_STATE_DICT"}}


def _model(order: Order) -> tuple[Any, Any]:
    """Return the model to train, and the adapter to put on it.

    A fine-tuned model's own adapter goes on being trained: what comes of it is one adapter on the base, and DPO
    compares with the fine-tuned model, not with the base.
    """
    model = load_base(order.entry, order.cache, order.parent)
    if order.parent is not None and is_adapter(order.parent):
        return PeftModel.from_pretrained(model, order.parent, is_trainable=True), None
    if order.entry.tuning == "full":
        return model, None
    lora = order.entry.lora
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        task_type="CAUSAL_LM",
    )
    return model, config
