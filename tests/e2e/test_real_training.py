"""One command trains all three methods for real, on a tiny model, and what it made is exported with its commit."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from program import ROOT, Repo

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("trl") is None, reason="needs the real engine: pip install -e '.[train]'"
    ),
]
TINY = ROOT / "tests" / "unit" / "server" / "trl" / "tiny.py"
CATALOGUE = """
models:
  tiny: {path: tiny, context: 128, answer: 8, generations: 4, learning_rate: {supervised: 0.01, dpo: 0.01}}
"""
GRADER = {
    "type": "string_check",
    "name": "exact",
    "operation": "eq",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
}


def asked(number: int) -> list[dict[str, Any]]:
    return [{"role": "user", "content": f"what is {number} plus two"}]


def said(text: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": text}]


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """A chain of three specs: taught, then rewarded and, beside that, told what is preferred."""
    server = {"RECONCILER_TRAINER": "trl", "RECONCILER_MODELS": "models.yaml"}
    repo = Repo.make(tmp_path / "repo", OMP_NUM_THREADS="1")
    subprocess.run([sys.executable, str(TINY), str(repo.root / "tiny")], check=True, capture_output=True)
    repo.write("models.yaml", CATALOGUE)
    answers = [(number, "yes" if number % 2 else "no") for number in range(12)]
    repo.rows("taught.jsonl", [{"messages": [*asked(n), *said(answer)]} for n, answer in answers])
    repo.rows("rewarded.jsonl", [{"messages": asked(n), "answer": answer} for n, answer in answers])
    repo.rows(
        "preferred.jsonl",
        [
            {
                "input": {"messages": asked(n)},
                "preferred_output": said(answer),
                "non_preferred_output": said("maybe"),
            }
            for n, answer in answers
        ],
    )
    taught: dict[str, Any] = {"n_epochs": 8, "batch_size": 4, "learning_rate_multiplier": 1}
    repo.spec("taught", model="tiny", training_file="data/taught.jsonl", seed=3, hyperparameters=taught)
    later: dict[str, Any] = {"model": {"job": "taught"}, "seed": 3}
    repo.spec("preferred", method="dpo", training_file="data/preferred.jsonl", **later)
    repo.spec("rewarded", method="reinforcement", training_file="data/rewarded.jsonl", grader=GRADER, **later)
    return Repo(repo.root, "local", {**repo.env, **server})


def losses(repo: Repo, name: str) -> list[float]:
    """The training losses of a job, from its first step to its last."""
    events = repo.run("events", name, "--format", "json").json["events"]
    steps = {event["data"]["step"]: event["data"]["train_loss"] for event in events if event["type"] == "metrics"}
    return [steps[step] for step in sorted(steps)]


def test_one_command_trains_all_methods_for_real(repo: Repo) -> None:
    commit = repo.commit()
    repo.run("apply", "--auto-approve", "--wait", timeout=280)
    jobs = repo.jobs()
    assert {name: job["status"] for name, job in jobs.items()} == dict.fromkeys(
        ("taught", "preferred", "rewarded"), "succeeded"
    )
    for name in ("taught", "preferred"):
        numbers = losses(repo, name)
        assert numbers[-1] < 0.7 * numbers[0], name
    assert repo.plan("--detailed-exitcode").json["summary"]["create"] == 0
    repo.run("models", "export", "taught", "--to", "out")
    card = (repo.root / "out" / "README.md").read_text()
    assert f"| commit | `{commit}` |" in card
    assert "| spec | `taught` |" in card
    assert sorted(path.name for path in (repo.root / "out").iterdir()) == ["README.md", "adapter", "merged"]
