"""How long a command takes that does nothing, against Python that does nothing."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from harness import Contender, Report, arguments, in_turn

SPEC = """\
name: triage
model: gpt-4.1-mini-2025-04-14
training_file: data/train.jsonl
hyperparameters: {n_epochs: 3}
"""
ROW = '{"messages":[{"role":"user","content":"2 km in m?"},{"role":"assistant","content":"2000 m"}]}\n'


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "", rounds=20).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder)
        (repository / "specs" / "data").mkdir(parents=True)
        (repository / "specs" / "triage.yaml").write_text(SPEC)
        (repository / "specs" / "data" / "train.jsonl").write_text(20 * ROW)
        (repository / "reconciler.yaml").write_text("owner: example.com/benchmark\n")
        python = [sys.executable]
        program = [*python, "-m", "reconciler"]
        contenders = {
            "python -c pass": Contender([*python, "-c", "pass"], repository),
            "reconciler --help": Contender([*program, "--help"], repository),
            "reconciler plan --help": Contender([*program, "plan", "--help"], repository),
            "reconciler validate": Contender([*program, "validate"], repository),
        }
        measured = in_turn(contenders, 2 if options.quick else options.rounds)
    report = Report("startup")
    for name in contenders:
        report.add(name, 1000 * measured.wall(name), "ms")
    report.print(measured.ratio("reconciler --help", "python -c pass"), "<= 4", as_json=options.json)


if __name__ == "__main__":
    main()
