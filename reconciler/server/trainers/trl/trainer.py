"""The trainer as the engine sees it: it refuses what it cannot do, and runs a subprocess for what it can."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from reconciler.api.types import Grader, TextSimilarityGrader
from reconciler.errors import MissingExtra
from reconciler.server import lifecycle
from reconciler.server.graders.case import Case
from reconciler.server.graders.grading import GraderRefused, Graders, parts
from reconciler.server.trainers.answers import AnswerRefused, End, Piece, Question
from reconciler.server.trainers.base import (
    Control,
    JobRefused,
    Note,
    Progress,
    Saved,
    Step,
    Trained,
    Trainer,
    TrainerOptions,
    TrainingFailed,
    TrainingRun,
)
from reconciler.server.trainers.trl import faults
from reconciler.server.trainers.trl.catalogue import FILE, Catalogue, Entry, load_catalogue
from reconciler.server.trainers.trl.child import Child
from reconciler.server.trainers.trl.devices import VARIABLE, Devices, found
from reconciler.server.trainers.trl.order import Order, State, Told
from reconciler.server.trainers.trl.recipe import Recipe, recipe
from reconciler.server.trainers.trl.sampler import Sampler
from reconciler.server.trainers.trl.shelf import NoWeights, Shelf, finish

_NEEDED = ("torch", "transformers", "trl", "peft", "datasets", "accelerate")
_MODULE = "reconciler.server.trainers.trl.train"
_LOOK_EVERY = 0.1
_GOING = 20.0
"""Seconds that a process may take to exit once it has said its last."""
_ATTEMPTS = 3
"""How often a process that ends without a word, without having got further, is started again."""


class TrlTrainer(Trainer):
    """Trains the models of a catalogue. ``launcher`` are words that stand before Python in a subprocess's command."""

    tracks = True

    def __init__(
        self, directory: Path, catalogue: Catalogue, graders: Graders, *, threads: int, launcher: Sequence[str] = ()
    ) -> None:
        self._directory = directory
        self._catalogue = catalogue
        self._graders = graders
        self._threads = None if "OMP_NUM_THREADS" in os.environ else threads
        self._launcher = launcher
        names = found(os.environ)
        self._devices = Devices(names)
        self._sampler = Sampler(directory, _ENVIRONMENT | ({VARIABLE: names[0]} if names else {}), self._threads)
        self.shelf = Shelf(directory / "models")

    @classmethod
    def start(cls, options: TrainerOptions) -> TrlTrainer:
        """Start with the catalogue that is named, else the one in the server's directory."""
        if any(importlib.util.find_spec(name) is None for name in _NEEDED):
            raise MissingExtra("What trains models", "train")
        catalogue = load_catalogue(options.catalogue or options.directory / FILE)
        threads = max(1, (os.cpu_count() or 1) // options.concurrency)
        return cls(options.directory.absolute(), catalogue, Graders(options.graders), threads=threads)

    @property
    def bases(self) -> Sequence[str]:
        """The catalogue's names."""
        return self._catalogue.names

    def check(self, job: Mapping[str, Any]) -> None:
        """Refuse a model that is not in the catalogue, and whatever would otherwise be passed over."""
        entry = self._entry(job["model"])
        if job["model"].startswith("ft:"):
            try:
                self.shelf.find(job["model"])
            except NoWeights as error:
                raise JobRefused("model_not_found", str(error), "model") from error
        kind = job["method"]["type"]
        if kind == "reinforcement":
            self._check_reinforcement(job["method"][kind], entry)

    def _entry(self, model: str) -> Entry:
        base = lifecycle.base_of(model)
        entry = self._catalogue.find(base)
        if entry is None:
            raise JobRefused(
                "model_not_found",
                f"The model {base!a} is not in this server's catalogue, which has {self._catalogue.near(base)}.",
                "model",
            )
        return entry

    def _check_reinforcement(self, settings: Mapping[str, Any], entry: Entry) -> None:
        at = "method.reinforcement"
        if (settings.get("response_format") or {}).get("type", "text") != "text":
            raise JobRefused(
                "unsupported_parameter",
                "This server cannot hold a model to a schema while it trains: leave response_format out, and let the "
                "grader reward answers that keep to it.",
                f"{at}.response_format",
            )
        effort = settings["hyperparameters"]["reasoning_effort"]
        if effort != "default" and not entry.reasoning_effort:
            raise JobRefused(
                "unsupported_parameter",
                f"This model knows no reasoning_effort, so it cannot be {effort}: leave it at default.",
                f"{at}.hyperparameters.reasoning_effort",
            )
        grader: Grader = TypeAdapter(Grader).validate_python(settings["grader"])
        try:
            self._graders.check(grader)
            for _, each in parts(grader):
                if isinstance(each, TextSimilarityGrader):
                    self._graders.grade(each, Case(""))  # its library is found, or not
        except GraderRefused as error:
            raise JobRefused(error.code, f"{error.message} {error.hint}", f"{at}.grader") from error
        except MissingExtra as error:
            raise JobRefused("grader_not_installed", f"{error.message} {error.hint}", f"{at}.grader") from error

    def delete(self, model: str) -> None:
        """Delete the weights of a model or a checkpoint."""
        self.shelf.remove(model)

    def answer(self, question: Question) -> Iterator[Piece | End]:
        """Answer from the weights."""
        try:
            entry = self._entry(question.model)
            weights = self.shelf.find(question.model).directory if question.model.startswith("ft:") else None
        except JobRefused as error:
            raise AnswerRefused(error.code, error.message, error.param) from error
        except NoWeights as error:
            raise AnswerRefused("model_has_no_weights", str(error), "model") from error
        return self._sampler.answer(question, entry, weights)

    def close(self) -> None:
        """End the process that answers."""
        self._sampler.close()

    def train(self, run: TrainingRun, control: Control) -> Iterator[Progress]:
        """Train in a subprocess. One that dies goes on from its last checkpoint, three times without getting further.

        Where memory runs out, half as many rows are held in it at once, one time.
        """
        try:
            yield from self._attempts(run, control)
        except OSError as error:
            failure = faults.failure_of(error)
            raise TrainingFailed(failure.code, str(failure), failure.param) from error

    def _attempts(self, run: TrainingRun, control: Control) -> Iterator[Progress]:
        state = State.model_validate_json(run.state) if run.state else None
        numbers, smaller = self._recipe(run, state), False
        silent = 0
        while not control.stopping:
            if state is not None and state.step == state.total:
                finish(self.shelf.place(run.output_model), state.step)
                yield Trained(state.tokens)
                return
            attempt = _Attempt(self._order(run, numbers, state), self._launcher)
            with self._devices.one() as seen:
                yield from attempt.follow(control, _ENVIRONMENT | seen)
            silent = 0 if attempt.state != state else silent + 1
            state = attempt.state
            match attempt.outcome:
                case "stopped":
                    return
                case "done":
                    continue
                case Told(code=faults.MEMORY) if not smaller and (less := numbers.smaller()):
                    yield Note(f"Memory ran out with {numbers.micro} rows at once; trying {less.micro}.")
                    numbers, smaller = less, True
                case Told(code=code, message=message, param=param):
                    raise TrainingFailed(code, message, param)
                case died if silent >= _ATTEMPTS:
                    raise TrainingFailed("server_error", f"The training process {died} {silent} times in a row.")
                case died:
                    yield Note(f"The training process {died}; it goes on from the last checkpoint.")

    def _recipe(self, run: TrainingRun, state: State | None) -> Recipe:
        numbers = recipe(run.method, run.hyperparameters, self._of(run), run.rows)
        return numbers.model_copy(update={"micro": state.micro}) if state else numbers

    def _of(self, run: TrainingRun) -> Entry:
        try:
            return self._entry(run.model)
        except JobRefused as error:  # the catalogue changed since the job was created
            raise TrainingFailed(error.code, error.message, error.param) from error

    def _order(self, run: TrainingRun, numbers: Recipe, state: State | None) -> Order:
        entry = self._of(run)
        parent = None
        if run.model.startswith("ft:"):
            try:
                parent = self.shelf.find(run.model).directory
            except NoWeights as error:
                raise TrainingFailed("model_not_found", str(error), "model") from error
        return Order(
            job_id=run.job_id,
            model=run.model,
            output_model=run.output_model,
            method=run.method,
            settings=dict(run.settings),
            seed=run.seed,
            training_file=run.training_file.absolute(),
            validation_file=run.validation_file and run.validation_file.absolute(),
            workdir=run.workdir.absolute(),
            place=self.shelf.place(run.output_model),
            parent=parent,
            cache=self._directory / "bases",
            entry=entry,
            recipe=numbers,
            state=state,
            threads=self._threads,
            card={
                "model": run.output_model,
                "job": run.job_id,
                "base": lifecycle.base_of(run.model),
                "source": entry.source,
                "licence": entry.licence,
                "entry": entry.model_dump(),
                "started_from": run.model,
                "method": run.method,
                "seed": run.seed,
                "hyperparameters": dict(run.hyperparameters),
                "training_sha256": run.training_sha256,
                "validation_sha256": run.validation_sha256 or None,
            },
            integrations=[dict(each) for each in run.integrations],
            tracking=self._directory / "tracking",
        )


class _Attempt:
    """One subprocess, from its start to its end. ``state`` is the last one saved.

    ``outcome`` is ``done``, ``stopped``, what it said of its failure, or in words how it died.
    """

    def __init__(self, order: Order, launcher: Sequence[str]) -> None:
        self.state = order.state
        self.outcome: Told | str = "stopped"
        self._order = order
        self._launcher = launcher
        self._began = False

    def follow(self, control: Control, environment: Mapping[str, str]) -> Iterator[Progress]:
        """Yield what happens. Before the first step there is nothing to save: asked to stop, it is ended at once."""
        workdir = self._order.workdir
        file = workdir / "order.json"
        file.write_text(self._order.model_dump_json(), encoding="utf-8")
        child = Child(_MODULE, [str(file)], log=workdir / "train.log", environment=environment, launcher=self._launcher)
        asked = ended = False
        try:
            while (line := child.hear(_LOOK_EVERY)) is not None:
                if line:
                    yield from self._told(Told.model_validate_json(line))
                if control.stopping and not asked:
                    if not self._began:
                        return
                    child.tell("stop")
                    asked = True
            ended = True
        finally:
            code = child.end(patience=_GOING if ended else 0)
        if self.outcome == "stopped" and not (asked and code == 0):
            died = f"ended with code {code} ({child.last_words()})"
            self.outcome = f"was ended by signal {-code}" if code < 0 else died

    def _told(self, told: Told) -> Iterator[Progress]:
        match told.kind:
            case "began":
                self._began = True
            case "note":
                yield Note(told.message)
            case "step":
                yield Step(told.step, told.total, told.metrics)
            case "saved":
                micro = self._order.recipe.micro
                self.state = State(step=told.step, total=told.total, tokens=told.tokens, micro=micro)
                yield Saved(told.step, told.metrics, self.state.model_dump_json().encode(), epoch=told.epoch)
            case "done":
                self.outcome = "done"
            case _:
                self.outcome = told


_ENVIRONMENT = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "WANDB_SILENT": "true",
}
