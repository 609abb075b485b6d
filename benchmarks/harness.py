"""What the benchmarks share: processes that are timed in turn, a server to time against, one way to report.

A figure is the median over rounds. In every round each contender runs once, so that whatever else the machine does
meets all of them; a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
_OURS = ("OPENAI_", "RECONCILER_", "COVERAGE_", "PYTEST_")
_UNIT = 2**20 if sys.platform == "darwin" else 2**10
"""How many of what the system counts memory in are a MB."""
_PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}


@dataclass(frozen=True)
class Sample:
    """One process from start to end: seconds, seconds of processor time, and the most memory it held, in MB."""

    wall: float
    cpu: float
    peak: float
    output: str


@dataclass(frozen=True)
class Contender:
    """A command to time, and what to do before each run, outside the clock."""

    command: Sequence[str]
    cwd: Path | None = None
    before: Callable[[], object] = lambda: None

    def run(self) -> Sample:
        """Run it once.

        Raises:
            SystemExit: it failed, so there is nothing to measure.
        """
        self.before()
        started = time.perf_counter()
        process = subprocess.Popen(self.command, cwd=self.cwd, env=environment(), stdout=subprocess.PIPE)
        with process:
            output = process.stdout.read().decode() if process.stdout else ""
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(self.command)} ended with {process.returncode}:\n{output}")
        return Sample(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / _UNIT, output)


@dataclass(frozen=True)
class Measured:
    """What came of several rounds, by contender."""

    samples: Mapping[str, Sequence[Sample]]

    def wall(self, name: str) -> float:
        """Return the median of the seconds from start to end."""
        return median(s.wall for s in self.samples[name])

    def cpu(self, name: str) -> float:
        """Return the median of the seconds of processor time."""
        return median(s.cpu for s in self.samples[name])

    def peak(self, name: str) -> float:
        """Return the most memory that any run held, in MB."""
        return max(s.peak for s in self.samples[name])

    def ratio(self, name: str, to: str) -> float:
        """Return how many times the wall-clock time of ``to`` it takes."""
        return median(a.wall / b.wall for a, b in zip(self.samples[name], self.samples[to], strict=True))


def in_turn(contenders: Mapping[str, Contender], rounds: int, *, warming: int = 1) -> Measured:
    """Run each contender once a round, after one round that only warms the machine's caches."""
    samples: dict[str, list[Sample]] = {name: [] for name in contenders}
    for number in range(warming + rounds):
        for name, contender in contenders.items():
            sample = contender.run()
            if number >= warming:
                samples[name].append(sample)
    return Measured(samples)


@dataclass
class Report:
    """Figures in the order they are to be read; the last is the ratio that has an aim."""

    benchmark: str
    figures: dict[str, tuple[float, str]] = field(default_factory=dict)

    def add(self, name: str, value: float, unit: str) -> None:
        """Add one figure."""
        self.figures[name] = (value, unit)

    def print(self, ratio: float, aim: str, *, as_json: bool) -> None:
        """Print all of it, as lines or as one JSON object."""
        if as_json:
            figures = {name: {"value": round(value, 4), "unit": unit} for name, (value, unit) in self.figures.items()}
            print(json.dumps({"benchmark": self.benchmark, **figures, "ratio": round(ratio, 3), "aim": aim}))
            return
        for name, (value, unit) in self.figures.items():
            print(f"{name:<44} {value:>10.3f} {unit}")
        print(f"{'ratio':<44} {ratio:>10.2f} (aim: {aim})")


def arguments(description: str, rounds: int) -> argparse.ArgumentParser:
    """Return a parser of the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds, help="how often each contender runs")
    parser.add_argument("--quick", action="store_true", help="a tiny size, to see that the benchmark works")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def environment() -> dict[str, str]:
    """Return this process's environment without what the program or an HTTP client would listen to."""
    return {k: v for k, v in os.environ.items() if not k.startswith(_OURS) and k.upper() not in _PROXIES}


@contextmanager
def serving(directory: Path, *options: str, ended: Callable[[float], object] = lambda _: None) -> Iterator[str]:
    """Run ``reconciler serve`` on a directory; yield its base URL.

    ``ended`` hears the most memory that it or one of its subprocesses held, in MB.
    """
    command = [sys.executable, "-m", "reconciler", "serve", "--port", "0", "--directory", str(directory), *options]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline() if server.stdout else ""
            if not line.startswith("Serving "):
                raise SystemExit("The server did not start.")
            yield line.removeprefix("Serving ").strip()
        finally:
            server.send_signal(signal.SIGTERM)
            _, status, usage = os.wait4(server.pid, 0)
            server.returncode = os.waitstatus_to_exitcode(status)
            ended(usage.ru_maxrss / _UNIT)
