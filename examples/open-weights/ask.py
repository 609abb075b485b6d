"""How many of the held-out messages the base model answers to the letter, and how many the model of a spec.

It speaks to `reconciler serve` on this machine: `python ask.py [SUFFIX]` (desk, if left out).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import openai

BASE = "smollm2-135m"
SERVER = "http://127.0.0.1:8765/v1"


def main(suffix: str = "desk") -> None:
    """Ask both, and print a line each."""
    rows = [json.loads(line)["messages"] for line in (Path(__file__).parent / "held-out.jsonl").open(encoding="utf-8")]
    with openai.OpenAI(base_url=SERVER, api_key=os.environ.get("RECONCILER_API_KEY", "none")) as client:
        made = [model for model in client.models.list() if f":{suffix}:" in model.id and ":ckpt-" not in model.id]
        if not made:
            raise SystemExit(f"There is no model of the suffix {suffix} yet: apply the specs first.")
        for model in (BASE, max(made, key=lambda model: model.created).id):
            right = sum(answer(client, model, asked) == wanted["content"] for *asked, wanted in rows)
            print(f"{model}: {right} of {len(rows)} right")


def answer(client: openai.OpenAI, model: str, messages: list[openai.types.chat.ChatCompletionMessageParam]) -> str:
    """Return what a model says, without chance."""
    said = client.chat.completions.create(model=model, messages=messages, temperature=0, max_completion_tokens=8)
    return (said.choices[0].message.content or "").strip()


if __name__ == "__main__":
    main(*sys.argv[1:])
