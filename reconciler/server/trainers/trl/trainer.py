"""The trainer as the engine sees it: it refuses what it cannot do, and runs a subprocess for what it can."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from reconciler.api.types import Grader, TextSimilarityGrader
from reconciler.errors import MissingExtra, UsageError
from reconciler.server import lifecycle
from reconciler.server.graders.case import Case
from reconciler.server.graders.grading import GraderRefused, Graders, parts
from reconciler.server.trainers.answers import AnswerRefused, End, Piece, Question
from reconciler.server.trainers.base import (
    Control,
    JobRefused,
    Note,
    Placement,
    Progress,
    Trained,
    Trainer,
    TrainerOptions,
    TrainingFailed,
    TrainingRun,
)
from reconciler.server.trainers.trl import faults, origin
from reconciler.server.trainers.trl.attempt import Attempt
from reconciler.server.trainers.trl.catalogue import FILE, Catalogue, Entry, load_catalogue, local_source
from reconciler.server.trainers.trl.checkpoints import checkpoint
from reconciler.server.trainers.trl.devices import Device, choose, find_devices
from reconciler.server.trainers.trl.executor import Executor, LocalExecutor
from reconciler.server.trainers.trl.grammar import INVALID, BadFormat, held_by
from reconciler.server.trainers.trl.memory import Load
from reconciler.server.trainers.trl.order import Order, State, Told
from reconciler.server.trainers.trl.recipe import Recipe, recipe
from reconciler.server.trainers.trl.sampler import Sampler
from reconciler.server.trainers.trl.shelf import NoWeights, Shelf, finish, publish, step_directory
from reconciler.server.trainers.trl.template import EFFORT, effort_refused, known
from reconciler.server.trainers.trl.tracking.settings import Target, parse
from reconciler.server.trainers.trl.weighing import fitting, shapes_of

log = logging.getLogger(__name__)

_NEEDED = ("torch", "transformers", "trl", "peft", "datasets", "accelerate")
_TRACKING = "tracking"
"""Where runs are shown that are shown nowhere else, below the server's directory."""
_ATTEMPTS = 3
"""How often a process that ends without a word, without having got further, is started again."""


class TrlTrainer(Trainer):
    """Trains the models of a catalogue, where ``executor`` has room; ``track`` shows its runs, too."""

    tracks = True

    def __init__(
        self,
        directory: Path,
        catalogue: Catalogue,
        graders: Graders,
        executor: Executor,
        *,
        threads: int,
        track: Sequence[Target] = (),
    ) -> None:
        self._directory = directory
        self._catalogue = catalogue
        self._graders = graders
        self._threads = None if "OMP_NUM_THREADS" in os.environ else threads
        self._executor = executor
        self._track = tuple(track)
        self._sampler = Sampler(directory, executor.here, self._threads)
        self.shelf = Shelf(directory / "models")

    @classmethod
    def start(cls, options: TrainerOptions) -> TrlTrainer:
        """Start with the catalogue that is named, else the one in the server's directory."""
        if any(importlib.util.find_spec(name) is None for name in _NEEDED):
            raise MissingExtra("What trains models", "train")
        catalogue = load_catalogue(options.catalogue or options.directory / FILE)
        threads = max(1, (os.cpu_count() or 1) // options.concurrency)
        directory = options.directory.absolute()
        track = parse(options.track, directory / _TRACKING, os.environ)
        executor = _executor(options.placement, directory)
        return cls(directory, catalogue, Graders(options.graders), executor, threads=threads, track=track)

    @property
    def places(self) -> int | None:
        """One run a GPU."""
        return self._executor.places

    @property
    def where(self) -> str:
        """The devices."""
        return self._executor.where

    @property
    def bases(self) -> Sequence[str]:
        """The catalogue's names."""
        return self._catalogue.names

    def check(self, job: Mapping[str, Any]) -> None:
        """Refuse a model that is not in the catalogue, and whatever would otherwise be passed over."""
        entry = self._trained(job["model"])
        kind = job["method"]["type"]
        self._check_batch(job["method"][kind]["hyperparameters"]["batch_size"], entry, kind)
        if kind == "reinforcement":
            self._check_reinforcement(job["method"][kind], entry, validated=bool(job["validation_file"]))

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

    def _trained(self, model: str, began: Entry | None = None) -> Entry:
        """Return what a job on a model is trained by, where it ``began`` already by the same as then."""
        entry = self._entry(model)
        try:
            if began is not None:
                entry = origin.going_on(began, entry)
            elif model.startswith("ft:"):
                entry = origin.training_on(self.shelf.find(model), entry, lifecycle.base_of(model))
            local_source(entry)
        except NoWeights as error:
            raise JobRefused("model_not_found", str(error), "model") from error
        except (origin.BadChain, UsageError) as error:
            raise JobRefused("model_not_available", str(error), "model") from error
        if entry.resources.workers > 1 and not self._executor.spreads:
            raise JobRefused(
                "model_not_available",
                f"The model {lifecycle.base_of(model)!a} is trained by {entry.resources.workers} workers together, and "
                "this server has one machine: start it with --executor ray, or leave resources.workers out of the "
                "model's entry in its catalogue.",
                "model",
            )
        if entry.tuning == "qlora" and (lacking := self._executor.no_four_bits):
            raise JobRefused(
                "model_not_available",
                f"The model {lifecycle.base_of(model)!a} is trained by tuning: qlora, which needs {lacking}. Or say "
                "tuning: lora in the model's entry in the server's catalogue.",
                "model",
            )
        return entry

    def _check_batch(self, size: int | str, entry: Entry, kind: str) -> None:
        workers = entry.resources.workers
        if isinstance(size, int) and size % workers:
            near = max(workers, size - size % workers)
            raise JobRefused(
                "invalid_value",
                f"{workers} workers train this model together, and each takes as many rows of a step: batch_size "
                f"{size} cannot be shared, {near} can. 'auto' chooses one that can.",
                f"method.{kind}.hyperparameters.batch_size",
            )

    def _check_reinforcement(self, settings: Mapping[str, Any], entry: Entry, *, validated: bool) -> None:
        at, given = "method.reinforcement", settings["hyperparameters"]
        for name in ("eval_interval", "eval_samples"):
            if given[name] != "auto" and not validated:
                raise JobRefused(
                    "unsupported_parameter",
                    f"{name} is about the validation file, and this job has none: give one, or leave {name} out.",
                    f"{at}.hyperparameters.{name}",
                )
        try:
            held_by(settings.get("response_format"))
        except (BadFormat, MissingExtra) as error:
            raise JobRefused(*_refusal(error), f"{at}.response_format") from error
        effort = None if given[EFFORT] == "default" else given[EFFORT]
        if words := effort_refused(effort, entry, known(entry)):
            raise JobRefused("unsupported_parameter", words, f"{at}.hyperparameters.{EFFORT}")
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
        """Delete the weights of a model or a checkpoint; what cannot be deleted now is swept away later."""
        try:
            self.shelf.remove(model)
        except OSError as error:
            log.warning("The weights of %s are deleted later: %s", model, error)

    def sweep(self, named: Callable[[str], Collection[str] | None], model: str | None = None) -> None:
        """Delete the weights that nothing names."""
        self.shelf.sweep(named, model)

    def answer(self, question: Question) -> Iterator[Piece | End]:
        """Answer from the weights."""
        try:
            entry, weights = self._entry(question.model), None
            if question.model.startswith("ft:"):
                made = self.shelf.find(question.model)
                entry, weights = origin.answering(made, entry), made.directory
        except JobRefused as error:
            raise AnswerRefused(error.code, error.message, error.param) from error
        except NoWeights as error:
            raise AnswerRefused("model_has_no_weights", str(error), "model") from error
        if words := effort_refused(question.reasoning_effort, entry, known(entry)):
            raise AnswerRefused("unsupported_parameter", words, EFFORT)
        try:
            held = held_by(question.response_format)
            grammar = held.grammar(question.tools) if held else None
        except (BadFormat, MissingExtra) as error:
            raise AnswerRefused(*_refusal(error), "response_format") from error
        return self._sampler.answer(question, entry, weights, grammar)

    def close(self) -> None:
        """End the process that answers."""
        self._sampler.close()
        self._executor.close()

    def keep_only(self, job_ids: Collection[str]) -> None:
        """End what a cluster still trains for other jobs."""
        self._executor.keep_only(job_ids)

    def reads(self, state: bytes) -> bool:
        """Whether it is a state of ours, of this version."""
        try:
            State.model_validate_json(state)
        except ValidationError:
            return False
        return True

    def train(self, run: TrainingRun, control: Control) -> Iterator[Progress]:
        """Train in a process of its own, on a device of its own where there are GPUs.

        One that dies goes on from its last checkpoint, three times without getting further. Where memory runs out, or
        one is killed twice without getting further, half as many rows are held in it at once, one time.
        """
        try:
            with self._executor.lend(control) as device:
                if device is not None:
                    yield from self._train_on(device, run, control)
        except OSError as error:
            failure = faults.failure_of(error)
            raise TrainingFailed(failure.code, str(failure), failure.param) from error

    def _train_on(self, device: Device, run: TrainingRun, control: Control) -> Iterator[Progress]:
        state = State.model_validate_json(run.state) if run.state else None
        entry = self._of(run, state)
        wanted = self._recipe(run, entry, state)
        numbers, smaller = self._fitting(wanted, run, entry, device), False
        if numbers != wanted:
            yield Note(f"Memory does not hold {wanted.micro} rows at once; it may hold {numbers.micro}.")
        if state is None and wanted.workers > 1 and wanted.batch != run.hyperparameters["batch_size"]:
            yield Note(f"{wanted.workers} workers share a batch in equal parts: batch_size is {wanted.batch} here.")
        if state is None and (words := self._moved(run.model, entry)):
            yield Note(words)
        silent, killed, validates = 0, False, run.validation_file is not None
        while not control.stopping:
            if state is not None and state.step == state.total:
                self._finish(run, entry, numbers, state)
                yield Trained(state.tokens)
                return
            order = self._order(run, entry, numbers, state)
            attempt = Attempt(order, self._executor.start(order, device), again=killed)
            yield from attempt.follow(control)
            killed = attempt.killed
            silent = 0 if attempt.state != state else silent + 1
            state = attempt.state
            match attempt.outcome:
                case "stopped":
                    return
                case "done":
                    continue
                case Told(code=faults.MEMORY) if not smaller and (less := numbers.smaller(validates=validates)):
                    yield _tries(less, numbers)
                    numbers, smaller = less, True
                case Told(code=faults.MEMORY) if attempt.killed and not silent:  # its neighbours may have taken it
                    yield Note("The training process was ended for memory; it goes on from the last checkpoint.")
                case Told(code=code, message=message, param=param):
                    raise TrainingFailed(code, message, param)
                case died if silent >= _ATTEMPTS:
                    raise TrainingFailed("server_error", f"The training process {died} {silent} times in a row.")
                case died:
                    again = "goes on from the last checkpoint" if state else "begins again"
                    yield Note(f"The training process {died}; it {again}.")

    def _moved(self, model: str, entry: Entry) -> str | None:
        """Say where a job goes on from a model whose base the catalogue has somewhere else by now."""
        now = self._entry(model)
        if origin.source(now) == origin.source(entry):
            return None
        return f"{model} was made on {entry.source}, and so is this: the catalogue's {now.source} is for new models."

    def _finish(self, run: TrainingRun, entry: Entry, numbers: Recipe, state: State) -> None:
        place = self.shelf.place(run.output_model)
        if not step_directory(place, state.step).is_dir():  # its checkpoint was deleted before the model had its name
            card = self._order(run, entry, numbers, state).card
            publish(checkpoint(run.workdir, state.step), place, state.step, card)
        finish(place, state.step)

    def _recipe(self, run: TrainingRun, entry: Entry, state: State | None) -> Recipe:
        numbers = recipe(run.method, run.hyperparameters, entry, run.rows)
        if run.method == "reinforcement" and run.rows < numbers.workers:
            words = f"{numbers.workers} workers take a prompt each a step, and the training file has {run.rows} rows."
            raise TrainingFailed("unsupported_training_data", words, "training_file")
        return numbers.holding(state.micro) if state else numbers

    def _fitting(self, numbers: Recipe, run: TrainingRun, entry: Entry, device: Device) -> Recipe:
        chained = run.model.startswith("ft:")
        load = Load(run.method, numbers, run.tokens / max(1, run.rows), whole=chained and entry.tuning == "full")
        return fitting(entry, load, device, shapes_of(entry))

    def _of(self, run: TrainingRun, state: State | None) -> Entry:
        try:
            return self._trained(run.model, state.entry if state else None)
        except JobRefused as error:  # the catalogue changed since the job was created
            raise TrainingFailed(error.code, error.message, error.param) from error

    def _order(self, run: TrainingRun, entry: Entry, numbers: Recipe, state: State | None) -> Order:
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
            metadata=dict(run.metadata),
            integrations=[dict(each) for each in run.integrations],
            tracking=self._directory / _TRACKING,
            track=self._track,
            created_at=run.created_at,
        )


def _tries(less: Recipe, numbers: Recipe) -> Note:
    if less.micro < numbers.micro:
        return Note(f"Memory ran out with {numbers.micro} rows at once; trying {less.micro}.")
    rows = f"{numbers.validated} rows of the validation file"
    return Note(f"Memory ran out with one row, or {rows}, at once; trying {less.validated} of these.")


def _refusal(error: BadFormat | MissingExtra) -> tuple[str, str]:
    """Say why answers cannot be held to a ``response_format``: a code, and words."""
    if isinstance(error, MissingExtra):
        return "unsupported_parameter", f"{error.message} {error.hint}"
    return INVALID, f"Answers cannot be held to this response_format: {error}."


def _executor(placement: Placement, directory: Path) -> Executor:
    if placement.executor not in {"local", "ray"}:
        raise UsageError(f"There is no executor {placement.executor!a}.", hint="Use local or ray.")
    if placement.executor == "local":
        if placement.ray_address:
            raise UsageError("A Ray address goes with --executor ray.", hint="Leave it out to train on this machine.")
        return LocalExecutor(choose(find_devices(), placement.gpus))
    if placement.gpus:
        raise UsageError("On a cluster each model's resources say how many GPUs.", hint="Leave --gpus out.")
    from reconciler.server.trainers.trl.cluster import RayExecutor  # noqa: PLC0415 - only where it is asked for

    return RayExecutor(directory, placement.ray_address)
