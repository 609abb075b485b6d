"""How fast a large file is sent, and how much memory that takes, against httpx alone and the same server."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median

from harness import HERE, Contender, Report, Sample, arguments, in_turn, serving


def write(path: Path, megabytes: int) -> None:
    """Write lines of no meaning, each of them different."""
    with path.open("wb") as file:
        for number in range(megabytes):
            line = b'{"messages":"%06d %b"}\n' % (number, b"abcdefgh" * 124)
            file.write(line * (2**20 // len(line)))


def seconds(sample: Sample) -> float:
    """Return how long the sending took."""
    return float(sample.output.split()[0])


def growth(sample: Sample) -> float:
    """Return how much memory grew meanwhile, in MB."""
    return float(sample.output.split()[1])


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "", rounds=7).parse_args()
    size, rounds = (4, 1) if options.quick else (200, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "train.jsonl"
        write(file, size)
        with serving(Path(folder) / "server") as url:
            command = [sys.executable, str(HERE / "send.py")]
            contenders = {how: Contender([*command, how, url, str(file)]) for how in ("bare", "ours")}
            samples = in_turn(contenders, rounds).samples
    report = Report("upload")
    for how, those in samples.items():
        report.add(f"{how}: {size} MB", median(map(seconds, those)), "s")
        report.add(f"{how}: throughput", size / median(map(seconds, those)), "MB/s")
        report.add(f"{how}: memory grew by", max(map(growth, those)), "MB")
    pairs = zip(samples["bare"], samples["ours"], strict=True)
    ratio = median(seconds(bare) / seconds(ours) for bare, ours in pairs)
    report.print(ratio, ">= 0.8 of the throughput, memory flat", as_json=options.json)


if __name__ == "__main__":
    main()
