"""The trainer's side that the engine sees, with a subprocess that says what a test has written down."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny import needs_grammars
from training import HELD

from reconciler.errors import MissingExtra, UsageError
from reconciler.server.graders.grading import Graders
from reconciler.server.lifecycle import resolve, unresolved
from reconciler.server.trainers import base
from reconciler.server.trainers.answers import AnswerRefused, Question
from reconciler.server.trainers.base import Control, JobRefused, Note, Progress, Saved, Step, Trained, TrainingFailed
from reconciler.server.trainers.trl import attempt, oom
from reconciler.server.trainers.trl import trainer as trl
from reconciler.server.trainers.trl.catalogue import Catalogue, Entry, Resources
from reconciler.server.trainers.trl.devices import GIB, Device
from reconciler.server.trainers.trl.executor import LocalExecutor
from reconciler.server.trainers.trl.faults import Failure
from reconciler.server.trainers.trl.order import State
from reconciler.server.trainers.trl.rewards import reward_function
from reconciler.server.trainers.trl.train import _rows
from reconciler.server.trainers.trl.trainer import TrlTrainer

FAKE = (sys.executable, str(Path(__file__).with_name("fake_child.py")))
PROCESSORS = Device("cpu", "2 processors", GIB)
BEGAN = {"kind": "began"}
DONE = {"kind": "done"}
GRADER = {"type": "string_check", "name": "g", "input": "{{sample.output_text}}", "reference": "x", "operation": "eq"}


def saved(step: int, epoch: int | None = None) -> dict[str, Any]:
    return {"kind": "saved", "step": step, "total": 4, "tokens": step * 10, "epoch": epoch}


def failed(code: str) -> dict[str, Any]:
    return {"kind": "failed", "code": code, "message": "It failed."}


@pytest.fixture
def trainer(tmp_path: Path) -> TrlTrainer:
    catalogue = Catalogue({"tiny": Entry(path="x"), "thinker": Entry(path="x", reasoning_effort=True)})
    return TrlTrainer(tmp_path, catalogue, Graders(), LocalExecutor([PROCESSORS], FAKE), threads=1)


class Run:
    """A run whose subprocess does what is written down."""

    def __init__(self, trainer: TrlTrainer, directory: Path, starts: Sequence[Sequence[object]]) -> None:
        self.trainer = trainer
        self.batch = 4
        self.validation: Path | None = None
        self.workdir = directory / "work"
        self.workdir.mkdir()
        (self.workdir / "script.json").write_text(json.dumps(starts))
        place = trainer.shelf.place("ft:tiny:local::x")
        place.mkdir(parents=True)
        (place / "model.json").write_text('{"final": null}')
        (place / "step-4").mkdir()

    def train(self, control: Control | None = None, state: bytes | None = None) -> list[Progress]:
        found = []
        for progress in self.trainer.train(self._run(state), control or Control()):
            found.append(progress)
            if control is not None and isinstance(progress, Step):
                control.stop()
        return found

    def order(self, left: int) -> dict[str, Any]:
        """The order of the start before which so many were left."""
        found: dict[str, Any] = json.loads((self.workdir / f"order.{left}.json").read_text())
        return found

    def _run(self, state: bytes | None) -> base.TrainingRun:
        return base.TrainingRun(
            job_id="ftjob-x", model="tiny", output_model="ft:tiny:local::x", method="supervised",
            hyperparameters={"n_epochs": 2, "batch_size": self.batch, "learning_rate_multiplier": 1.0}, settings={},
            seed=1, training_file=Path("t"), training_sha256="a", validation_file=self.validation, validation_sha256="",
            rows=8, tokens=800, workdir=self.workdir, state=state,
        )  # fmt: skip


@pytest.mark.parametrize("state", [b"30", b"", b"\xff", b'{"step":1,"total":4,"tokens":10}'])
def test_what_another_trainer_saved_is_not_read(trainer: TrlTrainer, state: bytes) -> None:
    assert trainer.reads(State(step=1, total=4, tokens=10, micro=1).model_dump_json().encode())
    assert not trainer.reads(state)


def test_what_the_subprocess_says_is_what_happens(trainer: TrlTrainer, tmp_path: Path) -> None:
    step = {"kind": "step", "step": 2, "total": 4, "metrics": {"train_loss": 0.5}, "at": 7.0}
    found = Run(trainer, tmp_path, [[BEGAN, {"kind": "note", "message": "Hm."}, step, saved(2, 1), saved(4, 2), DONE]])
    note, stepped, first, last, trained = found.train()
    assert (note, stepped) == (Note("Hm."), Step(2, 4, {"train_loss": 0.5}, at=7.0))
    assert isinstance(first, Saved)
    assert isinstance(last, Saved)
    assert (first.epoch, last.epoch, trained) == (1, 2, Trained(40))


def test_a_process_is_told_which_checkpoint_was_recorded(trainer: TrlTrainer, tmp_path: Path) -> None:
    run = Run(trainer, tmp_path, [[BEGAN, saved(2, 1), "hear", saved(4, 2), DONE]])
    assert [each for each in run.train() if isinstance(each, Note)] == [Note("kept 2")]


def test_a_process_that_is_killed_goes_on_from_its_last_checkpoint(trainer: TrlTrainer, tmp_path: Path) -> None:
    run = Run(trainer, tmp_path, [[BEGAN, saved(2, 1), "die"], [BEGAN, saved(4, 2), DONE]])
    assert Note("The training process was ended by signal 9; it goes on from the last checkpoint.") in run.train()
    assert run.order(1)["state"]["step"] == 2


def test_one_that_is_killed_before_its_first_checkpoint_begins_again(trainer: TrlTrainer, tmp_path: Path) -> None:
    run = Run(trainer, tmp_path, [[BEGAN, "die"], [BEGAN, saved(4, 2), DONE]])
    assert Note("The training process was ended by signal 9; it begins again.") in run.train()


def test_a_process_that_dies_three_times_without_getting_further_fails_the_job(
    trainer: TrlTrainer, tmp_path: Path
) -> None:
    run = Run(trainer, tmp_path, [[BEGAN, "abort"]] * 4)
    with pytest.raises(TrainingFailed, match="was ended by signal 6 3 times") as caught:
        run.train()
    assert caught.value.code == "server_error"


def test_one_that_is_killed_again_without_getting_further_ran_out_of_memory(
    trainer: TrlTrainer, tmp_path: Path
) -> None:
    run = Run(trainer, tmp_path, [[BEGAN, "die"]] * 4)
    with pytest.raises(TrainingFailed, match="ended the training process, as it does where memory runs out") as caught:
        run.train()
    assert caught.value.code == "out_of_memory"
    assert [run.order(left)["recipe"]["held"] for left in (4, 3, 2)] == [8, 8, 2]
    assert not (run.workdir / "order.1.json").exists()


def test_one_that_is_killed_again_after_it_got_further_goes_on_as_it_was(trainer: TrlTrainer, tmp_path: Path) -> None:
    run = Run(trainer, tmp_path, [[BEGAN, saved(1), "die"], [BEGAN, saved(2, 1), "die"], [BEGAN, saved(4, 2), DONE]])
    assert run.train()[-1] == Trained(40)
    assert run.order(1)["recipe"]["held"] == 8


def test_one_whose_end_the_system_counts_as_one_for_memory_is_not_tried_again_as_it_was(
    trainer: TrlTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = iter([3, 4, 4])
    monkeypatch.setattr(oom, "kills", lambda: next(counted))
    run = Run(trainer, tmp_path, [[BEGAN, saved(2, 1), "die"], [BEGAN, saved(4, 2), DONE]])
    assert Note("Memory ran out with 4 rows at once; trying 2.") in run.train()
    assert (run.order(1)["recipe"]["held"], run.order(1)["state"]["step"]) == (2, 2)


def test_a_process_that_breaks_is_quoted(trainer: TrlTrainer, tmp_path: Path) -> None:
    run = Run(trainer, tmp_path, [])
    with pytest.raises(TrainingFailed, match=r"ended with code 1 \(IndexError: list index out of range\)"):
        run.train()


def test_where_memory_runs_out_half_as_much_is_tried_once(trainer: TrlTrainer, tmp_path: Path) -> None:
    run = Run(trainer, tmp_path, [[BEGAN, failed("out_of_memory")]] * 2)
    with pytest.raises(TrainingFailed) as caught:
        run.train()
    assert caught.value.code == "out_of_memory"
    assert [run.order(left)["recipe"]["held"] for left in (2, 1)] == [8, 2]


def test_one_that_is_ended_for_memory_time_and_again_goes_on_as_long_as_it_gets_further(
    trainer: TrlTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = iter([0, 1, 1, 2, 2, 3, 3, 4])
    monkeypatch.setattr(oom, "kills", lambda: next(counted))
    run = Run(trainer, tmp_path, [[BEGAN, saved(step), "die"] for step in (1, 2, 3)] + [[BEGAN, "die"]])
    with pytest.raises(TrainingFailed) as caught:
        run.train()
    assert caught.value.code == "out_of_memory"
    assert [run.order(left)["recipe"]["held"] for left in (4, 3, 2, 1)] == [8, 2, 2, 2]
    assert next(counted, None) is None


def test_a_row_at_a_time_is_less_where_a_validation_file_is_looked_at(trainer: TrlTrainer, tmp_path: Path) -> None:
    run = Run(trainer, tmp_path, [[BEGAN, failed("out_of_memory")], [BEGAN, saved(4, 2), DONE]])
    run.batch, run.validation = 1, Path("v")
    words = "Memory ran out with one row, or 8 rows of the validation file, at once; trying 1 of these."
    assert Note(words) in run.train()
    assert [run.order(left)["recipe"]["held"] for left in (2, 1)] == [8, 1]


def test_a_row_at_a_time_is_not_tried_again_where_nothing_would_be_less(trainer: TrlTrainer, tmp_path: Path) -> None:
    run = Run(trainer, tmp_path, [[BEGAN, failed("out_of_memory")]])
    run.batch = 1
    with pytest.raises(TrainingFailed) as caught:
        run.train()
    assert caught.value.code == "out_of_memory"


def test_a_run_that_went_on_with_less_memory_keeps_to_it(trainer: TrlTrainer, tmp_path: Path) -> None:
    run = Run(trainer, tmp_path, [[BEGAN, saved(4, 2), DONE]])
    run.train(state=b'{"step": 2, "total": 4, "tokens": 20, "micro": 2}')
    assert run.order(1)["recipe"]["held"] == 2


def test_a_failure_keeps_its_code(trainer: TrlTrainer, tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed) as caught:
        Run(trainer, tmp_path, [[BEGAN, failed("training_diverged")]]).train()
    assert caught.value.code == "training_diverged"


def test_a_directory_that_cannot_be_written_fails_the_job(trainer: TrlTrainer, tmp_path: Path) -> None:
    run = Run(trainer, tmp_path, [])
    (run.workdir / "order.json").mkdir()
    with pytest.raises(TrainingFailed, match="IsADirectoryError"):
        run.train()


def test_asked_to_stop_it_saves_and_ends(trainer: TrlTrainer, tmp_path: Path) -> None:
    run = Run(trainer, tmp_path, [[BEGAN, {"kind": "step", "step": 1, "total": 4}, "wait", saved(1)]])
    stepped, kept = run.train(Control())
    assert isinstance(stepped, Step)
    assert isinstance(kept, Saved)
    assert kept.epoch is None


def test_asked_to_stop_before_it_began_it_is_ended_at_once(trainer: TrlTrainer, tmp_path: Path) -> None:
    control = Control()
    run = Run(trainer, tmp_path, [[{"kind": "step", "step": 0, "total": 4}, "wait", "wait"]])
    assert len(run.train(control)) == 1


@pytest.mark.parametrize("lasts", [False, True], ids=["ends", "hangs"])
def test_a_run_that_is_dropped_is_told_so_and_ended_before_long(
    trainer: TrlTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lasts: bool
) -> None:
    seconds = [0.0]
    monkeypatch.setattr(attempt, "time", SimpleNamespace(monotonic=lambda: seconds[-1]))
    step = {"kind": "step", "step": 1, "total": 4}
    run, control = Run(trainer, tmp_path, [[BEGAN, step, "hear", "hear", *["wait"] * lasts]]), Control()
    found = []
    for progress in trainer.train(run._run(None), control):
        found.append(progress)
        if isinstance(progress, Step):
            control.stop()
        elif progress == Note("stop"):  # what is paused may be cancelled then
            control.drop()
        elif lasts:
            seconds.append(attempt._DROPPED + 1)
    assert found[1:] == [Note("stop"), Note("drop")]


def test_a_run_that_was_over_is_not_trained_again(trainer: TrlTrainer, tmp_path: Path) -> None:
    run = Run(trainer, tmp_path, [])
    assert run.train(state=b'{"step": 4, "total": 4, "tokens": 40, "micro": 2}') == [Trained(40)]


def test_a_model_whose_last_checkpoint_was_deleted_before_it_was_made_has_its_weights(
    trainer: TrlTrainer, tmp_path: Path
) -> None:
    run = Run(trainer, tmp_path, [])
    trainer.delete("ft:tiny:local::x:ckpt-step-4")
    saved_at = run.workdir / "run" / "checkpoint-4"
    saved_at.mkdir(parents=True)
    (saved_at / "adapter_model.safetensors").touch()
    assert run.train(state=b'{"step": 4, "total": 4, "tokens": 40, "micro": 2}') == [Trained(40)]
    assert (trainer.shelf.find("ft:tiny:local::x").directory / "adapter_model.safetensors").is_file()


def job(model: str = "tiny", kind: str = "supervised", given: dict[str, Any] | None = None, **more: Any) -> Any:
    valid = more.pop("valid", None)
    settings = {"hyperparameters": unresolved(kind, given or {}), **more}  # type: ignore[arg-type]
    return {"model": model, "validation_file": valid, "method": {"type": kind, kind: settings}}


def refused(trainer: TrlTrainer, what: Any) -> JobRefused:
    with pytest.raises(JobRefused) as caught:
        trainer.check(what)
    return caught.value


def test_an_unknown_model_is_refused_with_the_names_there_are(trainer: TrlTrainer) -> None:
    error = refused(trainer, job("tinny"))
    assert (error.code, error.param) == ("model_not_found", "model")
    assert "tiny, thinker" in error.message


def test_a_fine_tuned_model_without_weights_is_refused(trainer: TrlTrainer) -> None:
    assert "no weights" in refused(trainer, job("ft:tiny:local::gone")).message


def test_a_model_of_a_package_that_is_not_installed_is_refused(tmp_path: Path) -> None:
    catalogue = Catalogue({"tiny": Entry(package="no_such_package/m.gguf")})
    trainer = TrlTrainer(tmp_path, catalogue, Graders(), LocalExecutor([PROCESSORS], FAKE), threads=1)
    error = refused(trainer, job())
    assert (error.code, error.param) == ("model_not_available", "model")
    assert "no_such_package is not installed" in error.message


@pytest.mark.parametrize(
    ("what", "param"),
    [
        ({"response_format": {"type": "xml"}, "grader": GRADER}, "method.reinforcement.response_format"),
        (
            {"given": {"reasoning_effort": "high"}, "grader": GRADER},
            "method.reinforcement.hyperparameters.reasoning_effort",
        ),
        ({"given": {"eval_interval": 5}, "grader": GRADER}, "method.reinforcement.hyperparameters.eval_interval"),
        ({"given": {"eval_samples": 1}, "grader": GRADER}, "method.reinforcement.hyperparameters.eval_samples"),
        (
            {"grader": {"type": "python", "name": "p", "source": "def grade(s, i): return 1"}},
            "method.reinforcement.grader",
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(trainer: TrlTrainer, what: dict[str, Any], param: str) -> None:
    assert refused(trainer, job(kind="reinforcement", **what)).param == param


@pytest.mark.slow  # the slow tests are those that have the engine, in CI
@needs_grammars
def test_a_schema_that_no_answer_can_be_held_to_is_refused_in_words(trainer: TrlTrainer) -> None:
    bad = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "strin"}}}
    words = "Answers cannot be held to this response_format: json_schema.schema: Invalid type: strin."
    error = refused(trainer, job(kind="reinforcement", grader=GRADER, response_format=bad))
    assert (error.code, error.message) == ("invalid_json_schema", words)
    assert error.param == "method.reinforcement.response_format"
    with pytest.raises(AnswerRefused, match="Invalid type: strin") as caught:
        trainer.answer(Question("tiny", [], response_format=bad))
    assert (caught.value.code, caught.value.param) == ("invalid_json_schema", "response_format")


@pytest.mark.slow
@needs_grammars
@pytest.mark.parametrize("form", [{"type": "json_object"}, HELD["response_format"], {"type": "text"}, None])
def test_the_apis_formats_are_taken(trainer: TrlTrainer, form: Any) -> None:
    trainer.check(job(kind="reinforcement", grader=GRADER, response_format=form))


def shared(tmp_path: Path, *, spreads: bool) -> TrlTrainer:
    """A trainer of a model that three workers train together."""
    executor = LocalExecutor([PROCESSORS], FAKE)
    executor.spreads = spreads
    entry = Entry(path="x", resources=Resources(workers=3))
    return TrlTrainer(tmp_path, Catalogue({"tiny": entry}), Graders(), executor, threads=1)


def test_a_model_of_several_workers_is_refused_where_there_is_one_machine(tmp_path: Path) -> None:
    with pytest.raises(JobRefused, match=r"3 workers together, .*--executor ray") as caught:
        shared(tmp_path, spreads=False).check(job())
    assert (caught.value.code, caught.value.param) == ("model_not_available", "model")


@pytest.mark.parametrize(
    ("kind", "installed", "words"),
    [
        ("cpu", True, "needs an NVIDIA GPU, and this server has cpu. Or say tuning: lora"),
        ("mps", True, "needs an NVIDIA GPU, and this server has mps"),
        ("cuda", False, r"needs bitsandbytes: pip install 'finetune-reconciler\[train,qlora\]'"),
        ("cuda", True, None),
    ],
)
def test_four_bits_are_refused_where_this_machine_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any, installed: bool, words: str | None
) -> None:
    place = tmp_path / "packages"
    (place / "bitsandbytes").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(place)] if installed else [])
    executor = LocalExecutor([Device(kind, "D", GIB)], FAKE)
    catalogue = Catalogue({"tiny": Entry(path="x", tuning="qlora")})
    trainer = TrlTrainer(tmp_path, catalogue, Graders(), executor, threads=1)
    if words is None:
        trainer.check(job())
        return
    with pytest.raises(JobRefused, match=f"'tiny' is trained by tuning: qlora, which {words}") as caught:
        trainer.check(job())
    assert (caught.value.code, caught.value.param) == ("model_not_available", "model")


def test_a_batch_that_workers_cannot_share_is_refused_with_one_that_they_can(tmp_path: Path) -> None:
    trainer = shared(tmp_path, spreads=True)
    trainer.check(job("tiny", "dpo", {"batch_size": 12}))
    trainer.check(job("tiny", "dpo", {"batch_size": "auto"}))
    with pytest.raises(JobRefused, match="batch_size 8 cannot be shared, 6 can") as caught:
        trainer.check(job("tiny", "dpo", {"batch_size": 8}))
    assert caught.value.param == "method.dpo.hyperparameters.batch_size"


def test_a_batch_that_workers_share_otherwise_is_said(tmp_path: Path) -> None:
    trainer = shared(tmp_path, spreads=True)
    run = Run(trainer, tmp_path, [[BEGAN, saved(4), DONE]])
    notes = [each.message for each in run.train() if isinstance(each, Note)]
    assert notes[0] == "3 workers share a batch in equal parts: batch_size is 6 here."
    assert run.order(1)["recipe"]["batch"] == 6


@pytest.mark.parametrize(
    ("given", "valid"),
    [
        ({"eval_interval": 5, "eval_samples": 2}, "file-v"),
        ({"eval_interval": "auto", "eval_samples": "auto"}, None),
        ({}, None),
    ],
)
def test_a_look_at_the_validation_file_is_taken_where_there_is_one(
    trainer: TrlTrainer, given: dict[str, Any], valid: str | None
) -> None:
    trainer.check(job(kind="reinforcement", given=given, valid=valid, grader=GRADER))


def test_effort_is_taken_for_a_model_that_knows_it(trainer: TrlTrainer) -> None:
    trainer.check(job("thinker", "reinforcement", {"reasoning_effort": "high"}, grader=GRADER))


def thinking(directory: Path, *, reads: bool, place: str) -> TrlTrainer:
    """A trainer of a model whose entry says that it knows efforts, with a template that may read them."""
    text = "{{ reasoning_effort }}" if reads else "{{ messages }}"
    (directory / place).write_text(json.dumps({"chat_template": text}) if place.endswith("json") else text)
    own = text if place == "own.jinja" else None
    catalogue = Catalogue({"thinker": Entry(path=str(directory), reasoning_effort=True, chat_template=own)})
    return TrlTrainer(directory, catalogue, Graders(), LocalExecutor([PROCESSORS], FAKE), threads=1)


@pytest.mark.parametrize("place", ["own.jinja", "chat_template.jinja", "tokenizer_config.json"])
def test_effort_is_refused_where_the_template_is_known_and_never_reads_it(tmp_path: Path, place: str) -> None:
    what = job("thinker", "reinforcement", {"reasoning_effort": "high"}, grader=GRADER)
    trainer = thinking(tmp_path, reads=False, place=place)
    error = refused(trainer, what)
    assert (error.code, error.param) == (
        "unsupported_parameter",
        "method.reinforcement.hyperparameters.reasoning_effort",
    )
    assert "chat template never reads" in error.message
    with pytest.raises(AnswerRefused, match="chat template never reads") as caught:
        trainer.answer(Question("thinker", [], reasoning_effort="low"))
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "reasoning_effort")
    thinking(tmp_path, reads=True, place=place).check(what)


def test_effort_is_asked_of_a_model_that_knows_it_alone(trainer: TrlTrainer) -> None:
    with pytest.raises(AnswerRefused, match="knows no reasoning_effort") as caught:
        trainer.answer(Question("tiny", [], reasoning_effort="low"))
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "reasoning_effort")
    trainer.answer(Question("thinker", [], reasoning_effort="low"))


class Talk:
    """A tokenizer with a template of its own, which notes what is put into it."""

    eos_token = bos_token = None

    def __init__(self, chat_template: str) -> None:
        self.chat_template = chat_template
        self.options: list[dict[str, Any]] = []

    def apply_chat_template(self, messages: Any, **options: Any) -> str:
        self.options.append(options)
        return str(messages)

    def __call__(self, text: str, **_: Any) -> dict[str, Any]:
        return {"input_ids": list(map(ord, text))}


def read_by(trainer: TrlTrainer, directory: Path, tokenizer: Talk) -> None:
    """Read a file for a job that asks for a high effort, as the training process does."""
    file = directory / "train.jsonl"
    file.write_text(json.dumps({"messages": [{"role": "user", "content": "Why?"}]}))
    given = resolve("reinforcement", unresolved("reinforcement", {"reasoning_effort": "high"}), 12)
    run = base.TrainingRun(
        job_id="ftjob-x", model="thinker", output_model="ft:thinker:local::x", method="reinforcement",
        hyperparameters=given, settings={"grader": GRADER}, seed=1, training_file=file, training_sha256="a",
        validation_file=None, validation_sha256="", rows=12, tokens=99, workdir=directory,
        created_at=1_700_000_000,
    )  # fmt: skip
    entry = trainer._trained("thinker")
    _rows(trainer._order(run, entry, trainer._recipe(run, entry, None), None), tokenizer, lambda _: None)


def test_effort_reaches_the_template_that_training_reads(trainer: TrlTrainer, tmp_path: Path) -> None:
    tokenizer = Talk("{{ reasoning_effort }}")
    read_by(trainer, tmp_path, tokenizer)
    assert [options["reasoning_effort"] for options in tokenizer.options] == ["high"]


def test_a_template_that_shows_the_date_shows_the_one_of_the_jobs_creation(trainer: TrlTrainer, tmp_path: Path) -> None:
    """Rows that changed overnight would make other numbers of a job that goes on."""
    tokenizer = Talk("{{ strftime_now('%d %b %Y') }} {{ reasoning_effort }}")
    read_by(trainer, tmp_path, tokenizer)
    assert [options["strftime_now"]("%d %b %Y") for options in tokenizer.options] == ["14 Nov 2023"]


def test_effort_fails_the_job_whose_template_turns_out_not_to_read_it(trainer: TrlTrainer, tmp_path: Path) -> None:
    with pytest.raises(Failure, match="chat template never reads reasoning_effort") as caught:
        read_by(trainer, tmp_path, Talk("{{ messages }}"))
    assert caught.value.code == "unsupported_parameter"
    assert caught.value.param == "method.reinforcement.hyperparameters.reasoning_effort"


@pytest.mark.parametrize(("tag", "said"), [("2025-05-08", True), (None, False)])
def test_an_image_that_a_python_grader_asks_for_is_said_not_to_be_used(tag: str | None, said: bool) -> None:
    notes: list[str] = []
    pay = {"type": "python", "name": "pay", "source": "def grade(s, i): return 1"} | ({"image_tag": tag} if tag else {})
    both = {
        "type": "multi",
        "name": "both",
        "graders": {"pay": pay, "right": GRADER},
        "calculate_output": "pay + right",
    }
    reward_function(both, notes.append, lambda: True)
    assert [("grader pay" in note, "image_tag 2025-05-08 is not used" in note) for note in notes] == [
        (True, True)
    ] * said


def test_without_the_extra_the_command_that_installs_it_is_said(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(trl, "_NEEDED", ("no_such_package",))
    with pytest.raises(MissingExtra) as caught:
        TrlTrainer.start(base.TrainerOptions(tmp_path))
    assert "pip install 'finetune-reconciler[train]'" in caught.value.hint


def test_an_executor_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trl, "_NEEDED", ())
    (tmp_path / "models.yaml").write_text("models: {m: {path: .}}")
    options = base.TrainerOptions(tmp_path, placement=base.Placement(executor="slurm"))
    with pytest.raises(UsageError, match="no executor 'slurm'"):
        TrlTrainer.start(options)
