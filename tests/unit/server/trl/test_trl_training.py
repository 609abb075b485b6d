"""Real training of a tiny model, for every method: exact to the digit across pauses and kills."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import needs_engine, tiny_model
from training import (
    HELD,
    HELD_UP,
    HOLDING,
    METHODS,
    Bench,
    child_of,
    hold,
    last_state,
    let_go,
    numbers,
    rows,
    write,
)

from reconciler.api.types import MethodType
from reconciler.server.trainers.base import Control, Note, Progress, Saved, Step, Trained, TrainingFailed
from reconciler.server.trainers.trl.catalogue import Lora

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), needs_engine]


@pytest.fixture
def tiny(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", HOLDING)
    return tiny_model(tmp_path_factory)


@pytest.fixture
def bench(tiny: Path, tmp_path: Path) -> Bench:
    return Bench(tmp_path, tiny)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_was_paused_and_killed_has_the_numbers_of_one_that_was_not(
    method: MethodType, tiny: Path, tmp_path: Path
) -> None:
    more: dict[str, Any] = {"hyperparameters": {"n_epochs": 4}}
    bench = Bench(tmp_path, tiny)
    if method == "reinforcement":
        more["settings"] = HELD
        bench = Bench(tmp_path, tiny, answer=100, micro_batch=1)  # room for all blanks that the schema leaves
    whole = bench.train(bench.run(method, "whole", **more))
    broken = bench.run(method, "broken", **more)

    def pause(progress: Progress, control: Control) -> None:
        if progress == HELD_UP:
            control.stop()

    hold(tmp_path, 1)
    first = bench.train(broken, pause)
    kept = last_state(first)

    def kill(progress: Progress, _: Control) -> None:
        if progress == HELD_UP:
            os.kill(child_of(broken.workdir), signal.SIGKILL)
            let_go(tmp_path)

    hold(tmp_path, 4)
    second = bench.train(replace(broken, state=kept), kill)
    assert any(isinstance(each, Note) and "signal 9" in each.message for each in second)
    assert numbers(first) | numbers(second) == numbers(whole)
    assert len(numbers(whole)) == 12
    assert max(numbers(first)) < min(numbers(second))
    assert second[-1] == whole[-1]
    assert isinstance(whole[-1], Trained)
    assert whole[-1].tokens > 0
    if method == "reinforcement":
        rewards = [each["train_reward_mean"] for _, each in sorted(numbers(whole).items())]
        assert min(rewards) >= 1, "every answer keeps to the schema"
        assert sum(rewards[-4:]) > sum(rewards[:4]) + 1, "what is rewarded is said more often"
        saved = [each.metrics for each in whole if isinstance(each, Saved)]
        assert [each["train_reward_mean"] for each in saved] == rewards[2::3]
        assert all(each["full_valid_reward_mean"] >= 1 and "valid_loss" not in each for each in saved)


def test_a_process_that_is_told_to_end_saves_where_it_is(bench: Bench) -> None:
    """Who shuts a machine down tells all its processes, not the server alone."""
    run = bench.run(hyperparameters={"n_epochs": 1, "batch_size": 1})

    def end(progress: Progress, _: Control) -> None:
        if progress == HELD_UP:
            os.kill(child_of(run.workdir), signal.SIGTERM)

    hold(bench.directory, 1)
    found = bench.train(run, end)
    assert not [each for each in found if isinstance(each, Note) and "signal" in each.message]
    steps = [each.step for each in found if isinstance(each, Step)]
    assert steps == list(range(1, 13)), "none is learnt twice"


def test_a_checkpoint_that_the_server_counts_on_stays_and_a_lost_one_is_made_again(bench: Bench) -> None:
    run = bench.run(hyperparameters={"n_epochs": 3})
    there: set[str] = set()

    def hold_up(progress: Progress, _: Control) -> None:
        """A server that has not recorded the first checkpoint when the last one is made."""
        deadline = time.monotonic() + 300
        while isinstance(progress, Saved) and not {"checkpoint-3", "checkpoint-9"} <= there:
            assert time.monotonic() < deadline, there
            there.update(path.parent.name for path in (run.workdir / "run").glob("checkpoint-*/reconciler.json"))
            time.sleep(0.05)

    whole = bench.train(run, hold_up)
    places = {path.name: path for path in (run.workdir / "run").iterdir() if path.is_dir()}
    assert {"checkpoint-3", "checkpoint-6", "checkpoint-9"} <= set(places)
    shutil.rmtree(places["checkpoint-6"])
    (state,) = [each.state for each in whole if isinstance(each, Saved) and each.step == 6]
    again = bench.train(replace(run, state=state))
    lost = Note("The checkpoint of step 6 is lost; training goes on from step 3, to the same numbers.")
    assert lost in again
    assert sorted(numbers(again)) == list(range(4, 10))
    assert numbers(whole) | numbers(again) == numbers(whole)
    assert again[-1] == whole[-1]


def test_a_run_that_is_dropped_in_validation_ends_at_once_and_saves_nothing(bench: Bench) -> None:
    run = bench.run(hyperparameters={"n_epochs": 1})
    valid = write(bench.directory / "long.jsonl", rows("supervised", 40))

    def drop(progress: Progress, control: Control) -> None:
        if progress == HELD_UP:
            control.drop()

    hold(bench.directory, 3, "on_prediction_step")
    found = bench.train(replace(run, validation_file=valid), drop)
    assert [type(each) for each in found] == [Step, Step, Note]
    assert not list((run.workdir / "run").glob("checkpoint-*"))


def test_learning_shows_in_the_loss_and_epochs_make_checkpoints(bench: Bench) -> None:
    hold(bench.directory, 14, kept=12)
    found = bench.train(bench.run(hyperparameters={"n_epochs": 5, "learning_rate_multiplier": 1.0}))
    steps = numbers(found)
    assert steps[15]["train_loss"] < 0.5 * steps[1]["train_loss"]
    assert steps[15]["train_mean_token_accuracy"] > steps[1]["train_mean_token_accuracy"]
    assert {step for step, each in steps.items() if "full_valid_loss" in each} == set(range(3, 16, 3))
    saved = [each for each in found if isinstance(each, Saved)]
    assert [(each.step, each.epoch) for each in saved] == [(3 * epoch, epoch) for epoch in range(1, 6)]
    assert saved[-1].metrics["valid_mean_token_accuracy"] == steps[15]["full_valid_mean_token_accuracy"]
    place = bench.trainer.shelf.place("ft:tiny:local::x")
    assert sorted(each.name for each in place.glob("step-*")) == ["step-12", "step-15", "step-9"]
    assert not (bench.directory / "work" / "x" / "run" / "checkpoint-3").exists(), "its successor was recorded"


@pytest.mark.parametrize("method", METHODS)
def test_all_of_the_validation_file_counts_alike_however_it_is_cut(
    method: MethodType, tiny: Path, tmp_path: Path
) -> None:
    right = {"type": "string_check", "name": "x", "operation": "eq", "input": "{{item.answer}}", "reference": "yes"}
    more: dict[str, Any] = {"settings": {"grader": right}} if method == "reinforcement" else {}
    found = []
    for held in (4, 5):
        bench = Bench(tmp_path / str(held), tiny, micro_batch=held, lora=Lora(rank=8))
        run = bench.run(method, hyperparameters={"n_epochs": 3}, **more)
        asked = [*rows(method, 5)]
        if method == "supervised":
            asked[4]["messages"][-1]["content"] = "yes no maybe " * 5
        valid = write(run.workdir / "five.jsonl", asked)
        last = max(numbers(bench.train(replace(run, validation_file=valid))).items())[1]
        found.append({name: number for name, number in last.items() if name.startswith("full_valid_")})
    assert found[0] == pytest.approx(found[1], abs=1e-3)
    if method == "reinforcement":
        assert found[0] == {"full_valid_reward_mean": pytest.approx(0.4)}


def test_a_loss_that_is_no_number_fails_the_run(bench: Bench) -> None:
    with pytest.raises(TrainingFailed) as caught:
        bench.train(bench.run(hyperparameters={"learning_rate_multiplier": 1e30}))
    assert caught.value.code == "training_diverged"
    assert "learning_rate_multiplier" in caught.value.message


def test_a_disk_that_is_full_fails_the_run(tiny: Path, tmp_path: Path) -> None:
    # A limit on the size of files stands for the disk: the order still fits, the weights do not.
    bench = Bench(tmp_path, tiny, launcher=("sh", "-c", 'ulimit -f 16; exec "$@"', "sh"))
    with pytest.raises(TrainingFailed) as caught:
        bench.train(bench.run())
    assert caught.value.code == "insufficient_storage"


def test_a_model_that_brings_code_of_its_own_is_refused_and_runs_none(tiny: Path, tmp_path: Path) -> None:
    model, ran = shutil.copytree(tiny, tmp_path / "odd"), tmp_path / "ran"
    facts = json.loads((model / "config.json").read_text())
    facts |= {"model_type": "odd", "auto_map": {"AutoConfig": "odd.Odd", "AutoModelForCausalLM": "odd.Odd"}}
    (model / "config.json").write_text(json.dumps(facts))
    (model / "odd.py").write_text(f"open({str(ran)!r}, 'w')")
    bench = Bench(tmp_path, model)
    with pytest.raises(TrainingFailed, match="code of its own") as caught:
        bench.train(bench.run())
    assert (caught.value.code, caught.value.param) == ("model_not_available", "model")
    assert not ran.exists()


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_damaged_model_is_not_bought_again(tiny: Path, tmp_path: Path, file: str) -> None:
    model = shutil.copytree(tiny, tmp_path / "damaged")
    (model / file).write_bytes((model / file).read_bytes()[:100])
    bench = Bench(tmp_path, model)
    with pytest.raises(TrainingFailed, match="damaged cannot be loaded") as caught:
        bench.train(bench.run())
    assert (caught.value.code, caught.value.param) == ("model_not_available", "model")


def test_a_row_that_the_model_cannot_read_is_named_by_its_line(bench: Bench) -> None:
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}]}
    bad = {"messages": [picture, {"role": "assistant", "content": "no"}]}
    with pytest.raises(TrainingFailed) as caught:
        bench.train(bench.run(rows=[*rows("supervised", 10), bad]))
    assert caught.value.code == "unsupported_training_data"
    assert "training_file, line 11: messages[0]" in caught.value.message


def test_a_fine_tuned_model_goes_on_being_trained_on_its_base_whatever_the_catalogue_has_by_then(
    bench: Bench, tmp_path: Path
) -> None:
    first = bench.train(bench.run(name="first", hyperparameters={"n_epochs": 5, "learning_rate_multiplier": 1.0}))
    (tmp_path / "other").mkdir()  # what would fail if it were loaded
    bench = Bench(tmp_path, tmp_path / "other")
    again: dict[str, Any] = {"model": "ft:tiny:local::first", "hyperparameters": {"learning_rate_multiplier": 1e-6}}
    second = bench.train(bench.run(name="second", **again))
    assert numbers(second)[1]["train_loss"] < 0.5 * numbers(first)[1]["train_loss"]
    # DPO compares with the fine-tuned model it starts from: before anything is learnt there is no difference.
    third = bench.train(bench.run("dpo", name="third", **again))
    assert numbers(third)[1]["rewards/margins"] == pytest.approx(0, abs=1e-4)


def test_whole_models_are_trained_where_the_catalogue_says_so(tiny: Path, tmp_path: Path) -> None:
    bench = Bench(tmp_path, tiny, tuning="full")
    bench.train(bench.run(name="first", hyperparameters={"n_epochs": 5, "learning_rate_multiplier": 1.0}))
    assert (bench.trainer.shelf.find("ft:tiny:local::first").directory / "model.safetensors").is_file()
    again = bench.train(bench.run(name="second", model="ft:tiny:local::first"))
    assert numbers(again)[1]["train_mean_token_accuracy"] > 0.5


def test_a_whole_model_is_compared_with_the_commit_it_starts_from(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's cache holds one commit alone, and nobody can be asked for another."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(tiny, tmp_path / "hub" / "models--acme--tiny" / "snapshots" / commit)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    bench = Bench(tmp_path, tiny, path=None, hub="acme/tiny", revision=commit, tuning="full")
    found = numbers(bench.train(bench.run("dpo", hyperparameters={"learning_rate_multiplier": 1e-6})))
    assert found[1]["rewards/margins"] == pytest.approx(0, abs=1e-4)
