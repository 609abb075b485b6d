"""A model so small that it trains in a second: a random Llama with a tokenizer trained on the spot.

``python tiny.py DIRECTORY`` makes one. It runs in a process of its own, as the trainer does: torch is loaded there.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

needs_engine = pytest.mark.skipif(
    importlib.util.find_spec("trl") is None, reason="needs the real engine: pip install -e '.[train]'"
)
needs_grammars = pytest.mark.skipif(
    importlib.util.find_spec("llguidance") is None, reason="needs the real engine: pip install -e '.[train]'"
)
WORDS = "the quick brown fox jumps over a lazy dog and asks what is two plus three minus one yes no maybe"


def tiny_model(temporary: pytest.TempPathFactory) -> Path:
    """Return the tiny model's directory, one for all workers; the first that asks makes it."""
    base = temporary.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    directory = shared / "tiny"
    with (shared / "tiny.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.is_dir():
            made = subprocess.run(
                [sys.executable, __file__, str(directory)], capture_output=True, text=True, check=False
            )
            assert made.returncode == 0, made.stderr
    return directory


def make(directory: Path) -> None:
    import torch  # noqa: PLC0415
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: PLC0415
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast  # noqa: PLC0415

    torch.set_num_threads(1)
    torch.manual_seed(0)
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<pad>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        [WORDS] * 10, trainers.BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=alphabet)
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<|im_end|>")
    tokenizer.save_pretrained(directory)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.2,
        max_position_embeddings=256,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(directory)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
