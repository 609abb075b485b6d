"""A training as one would write it with TRL alone: ``by_hand.py MODEL_DIRECTORY ROWS.jsonl OUTPUT SETTINGS``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from datasets import Dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer


def main() -> None:
    """Train, and save the adapter."""
    model, rows, output, settings = sys.argv[1], Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
    chats = [json.loads(line)["messages"] for line in rows.read_text().splitlines()]
    data = Dataset.from_list([{"prompt": chat[:-1], "completion": chat[-1:]} for chat in chats])
    config = SFTConfig(
        output_dir=output,
        num_train_epochs=settings["n_epochs"],
        per_device_train_batch_size=settings["batch_size"],
        learning_rate=settings["learning_rate"],
        gradient_checkpointing=False,
        max_length=512,
        model_init_kwargs={"dtype": "float32"},
        logging_steps=1,
        save_strategy="epoch",
        seed=7,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
    )
    lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = SFTTrainer(model, args=config, train_dataset=data, peft_config=lora)
    trainer.train()
    trainer.save_model(output)


if __name__ == "__main__":
    main()
