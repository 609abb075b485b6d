"""Stands in for llama.cpp's converter: a GGUF file with the model's chat template, and how this program was called."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from gguf import GGUFWriter

SEEN = ("HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--outfile", type=Path, required=True)
    parser.add_argument("--outtype", required=True)
    parser.add_argument("--model-name", required=True)
    told = parser.parse_args()
    json.loads((told.model / "config.json").read_text())
    print("converting")
    writer = GGUFWriter(told.outfile, "llama")
    writer.add_name(told.model_name)
    writer.add_string("test.type", told.outtype)
    writer.add_string("test.environment", json.dumps({name: os.environ.get(name) for name in SEEN}))
    if (template := told.model / "chat_template.jinja").is_file():
        writer.add_chat_template(template.read_text())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
