"""A training as one would write it with TRL alone: ``by_hand.py MODEL_DIRECTORY ROWS.jsonl OUTPUT SETTINGS``.

The last line that it prints is what it noted, as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from datasets import Dataset
from noted import Noted
from peft import LoraConfig
from transformers import TrainerCallback, TrainerState
from trl import SFTConfig, SFTTrainer


class Steps(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Notes each step."""

    def __init__(self, noted: Noted) -> None:
        self._noted = noted

    def on_step_end(self, _: object, state: TrainerState, *__: object, **___: object) -> None:
        """Note it."""
        self._noted.step(state.global_step)


def main() -> None:
    """Train, and save the adapter."""
    model, rows, output, settings = sys.argv[1], Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
    chats = [json.loads(line)["messages"] for line in rows.read_text().splitlines()]
    data = Dataset.from_list([{"prompt": chat[:-1], "completion": chat[-1:]} for chat in chats])
    cuda = torch.cuda.is_available()
    half = cuda and settings["dtype"] == "auto" and torch.cuda.is_bf16_supported()
    config = SFTConfig(
        output_dir=output,
        num_train_epochs=settings["n_epochs"],
        per_device_train_batch_size=settings["batch_size"],
        learning_rate=settings["learning_rate"],
        gradient_checkpointing=False,
        max_length=512,
        model_init_kwargs={"dtype": "bfloat16" if half else "float32"},
        bf16=half,
        logging_steps=1,
        save_strategy="epoch",
        seed=7,
        use_cpu=not cuda and not torch.backends.mps.is_available(),
        report_to="none",
        disable_tqdm=True,
    )
    lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = SFTTrainer(model, args=config, train_dataset=data, peft_config=lora)
    with Noted() as noted:
        trainer.add_callback(Steps(noted))
        trainer.train()
    trainer.save_model(output)
    tokens = max(line.get("num_tokens", 0) for line in trainer.state.log_history)
    print(json.dumps(noted.facts(int(tokens))))


if __name__ == "__main__":
    main()
