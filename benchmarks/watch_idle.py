"""What a watch costs while nothing happens: a converged repository, for some minutes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from harness import HERE, Report, arguments, environment, serving

OWNER = "example.com/benchmark"
INTERVAL = 30.0
SETTLES = 180.0
"""Seconds after the start, at most, until looks come once an interval."""


@contextmanager
def watched(folder: Path, specs: int) -> Iterator[tuple[psutil.Process, list[str]]]:
    """Run a watch of so many specs, all trained; yield its process, and the lines of its log as they come."""
    make = [sys.executable, str(HERE / "seeded.py"), str(folder), OWNER, str(specs), "1", "0"]
    subprocess.run(make, check=True, env=environment())
    with serving(folder / "server") as url:
        command = [sys.executable, "-m", "reconciler", "watch", "--auto-approve", "--interval", f"{INTERVAL:g}"]
        command += ["--server", url, "--log-format", "json", "--verbose"]
        lines: list[str] = []
        with subprocess.Popen(
            command, cwd=folder / "repository", env=environment(), stderr=subprocess.PIPE, text=True
        ) as watch:
            threading.Thread(target=lambda: lines.extend(watch.stderr or ()), daemon=True).start()
            try:
                yield psutil.Process(watch.pid), lines
            finally:
                watch.terminate()
                watch.wait(30)


def seconds_of(process: psutil.Process) -> float:
    """Return the processor time a process has taken."""
    times = process.cpu_times()
    return float(times.user + times.system)


def measure(specs: int, settles: float, lasts: float) -> tuple[float, int, float, float]:
    """Return seconds of processor time, requests, and memory at the start and the end, in MB."""
    with tempfile.TemporaryDirectory() as folder, watched(Path(folder), specs) as (process, lines):
        time.sleep(settles)
        cpu, memory, said = seconds_of(process), process.memory_info().rss / 2**20, len(lines)
        time.sleep(lasts)
        requests = sum("status" in json.loads(line) for line in lines[said:])
        return seconds_of(process) - cpu, requests, memory, process.memory_info().rss / 2**20


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "", rounds=10).parse_args()
    specs, settles, lasts = (40, 5, 35) if options.quick else (1000, SETTLES, options.rounds * 60.0)
    cpu, requests, before, after = measure(specs, settles, lasts)
    report = Report("watch_idle")
    report.add(f"{specs} specs: time", lasts, "s")
    report.add("processor", cpu, "s")
    report.add("requests", requests, "")
    report.add("memory", before, "MB")
    report.add("memory grew by", after - before, "MB")
    report.print(requests / (lasts / INTERVAL), "<= 1.2 requests an interval", as_json=options.json)


if __name__ == "__main__":
    main()
