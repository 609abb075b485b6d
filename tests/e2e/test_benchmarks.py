"""The benchmarks run, at a tiny size: what they find there says nothing, that they still measure it does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny import needs_engine, tiny_model

from reconciler.server.trainers.trl.dialogue import DEFAULT_TEMPLATE

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
    report = measured(name)
    assert figures <= report.keys()
    assert all(report[figure]["value"] >= 0 for figure in figures)


def measured(name: str, *options: str) -> dict[str, Any]:
    """Run a benchmark at a tiny size; return what it reports."""
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--quick", "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["ratio"] > 0
    return report


@pytest.mark.slow
@needs_engine
def test_training_through_the_server_is_measured_beside_a_script(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    base = shutil.copytree(tiny_model(tmp_path_factory), tmp_path / "base")
    (base / "chat_template.jinja").write_text(DEFAULT_TEMPLATE)
    report = measured("learning", "--base", str(base))
    assert report["TRL by hand: while it trains"]["value"] > 0
    assert report["through the server: while it trains"]["value"] > 0
    assert report["TRL by hand: memory"]["value"] > 100
    assert report["through the server: memory"]["value"] > 100, "that of the process that trains"


def test_a_program_that_fails_is_not_measured(tmp_path: Path) -> None:
    code = "from harness import Contender; import sys; Contender([sys.executable, '-c', 'exit(3)']).run()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(BENCHMARKS)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert "ended with 3" in done.stderr
