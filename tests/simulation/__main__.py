"""Play many schedules on all cores, or one again: ``python -m tests.simulation --schedules 10000``, ``--seed N``."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from .rules import owner_of
from .schedule import Result, play, play_all
from .specs import write_files

BATCH = 50


def play_on_all_cores(seeds: range, workers: int) -> Iterator[Result]:
    """Play batches of schedules, in processes of their own."""
    batches = [seeds[start : start + BATCH] for start in range(0, len(seeds), BATCH)]
    if workers == 1:
        yield from map(play_all, batches)
        return
    # A fork would copy whatever lock one of a test's threads holds at that moment.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(play_all, batches)


def summary(total: Result, seconds: float) -> str:
    """Say what was played, what went wrong on purpose, and what was checked."""
    counts = total.counts
    deeds = (
        f"{total.schedules:,} schedules in {seconds:.0f} s: {counts['runs']:,} runs of a reconciler, "
        f"{counts['kills']:,} of them killed; {counts['creates']:,} creates, {counts['cancel']:,} cancels, "
        f"{counts['pause']:,} pauses, {counts['resume']:,} resumes; {counts['grant']:,} grants, "
        f"{counts['revoke']:,} revokes; {counts['delete files']:,} files and {counts['delete models']:,} models deleted"
    )
    lines = [
        deeds,
        *_table(f"{total.faults.total():,} faults", total.faults),
        *_table(f"{total.checks.total():,} checks", total.checks),
    ]
    return "\n".join(lines)


def _table(title: str, rows: Counter[str]) -> Iterator[str]:
    yield f"\n{title}"
    yield from (f"{count:>11,}  {name}" for name, count in rows.most_common())


def failures(total: Result) -> Iterator[str]:
    """Say what did not hold, and how to see it again."""
    for seed, broken in sorted(total.broken.items()):
        yield f"seed {seed}: {broken[0]}\n  again: python -m tests.simulation --seed {seed}"


def replay(seed: int) -> int:
    """Play one schedule and tell everything that the server saw."""
    with tempfile.TemporaryDirectory() as directory:
        town = play(seed, write_files(Path(directory)), Path(directory))
    print(f"{town.quirks}\n{town.policy!r}\n")
    for at, *what in town.record.trace:
        print(f"{at:>9.3f}  {' '.join(map(str, what))}")
    print("\nspecs at last")
    for spec in town.desired:
        print(f"  {spec.name}: revision {spec.revision}, {town.repository.specs[spec.name]}")
    print("jobs at last")
    for job in town.record.ours():
        print(f"  {job.id}: {job.status}, {owner_of(job)}")
    print("\n" + "\n".join(town.record.broken or ["everything held"]))
    return 1 if town.record.broken else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--schedules", type=int, default=10_000, help="how many (default: 10000)")
    parser.add_argument("--first", type=int, default=0, help="the first one's seed (default: 0)")
    parser.add_argument("--seed", type=int, help="play this one alone and tell what happened")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    given = parser.parse_args()
    if given.seed is not None:
        return replay(given.seed)
    started, total = time.monotonic(), Result()
    for part in play_on_all_cores(range(given.first, given.first + given.schedules), given.workers):
        total.add(part)
    print(summary(total, time.monotonic() - started))
    print("\n" + ("\n".join(failures(total)) or f"0 of {total.schedules:,} schedules broke a rule"))
    return 1 if total.broken else 0


if __name__ == "__main__":
    sys.exit(main())
