"""The benchmarks run, at a tiny size: what they find there says nothing, that they still measure it does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(os.name != "posix", reason="a process's memory is read with wait4")


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("startup", {"python -c pass", "reconciler --help", "reconciler plan --help", "reconciler validate"}),
        ("upload", {"ours: throughput", "bare: throughput", "ours: memory grew by"}),
        pytest.param("watch_idle", {"processor", "requests", "memory"}, marks=pytest.mark.slow),
        pytest.param("watch_latency", {"10 specs: from save to request"}, marks=pytest.mark.slow),
        pytest.param(
            "noop_plan",
            {"40 specs, 400 jobs: minimal script", "40 specs, 400 jobs: plan, cold", "40 specs, 400 jobs: plan, warm"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_benchmark_measures_what_it_promises(name: str, figures: set[str]) -> None:
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--quick", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert figures <= report.keys()
    assert all(report[figure]["value"] >= 0 for figure in figures)
    assert report["ratio"] > 0


def test_a_program_that_fails_is_not_measured(tmp_path: Path) -> None:
    code = "from harness import Contender; import sys; Contender([sys.executable, '-c', 'exit(3)']).run()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(BENCHMARKS)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert "ended with 3" in done.stderr
