"""The trainer interface: what turns a job's data into a model.

A trainer is found by its entry point in the group ``reconciler.trainers``, a class that ``start(options)`` makes one
of. It is given one run at a time per worker thread and yields what happens; it keeps nothing in
the database and decides nothing about the job. The engine records each item before it asks for the next.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, Self

from reconciler.api.types import MethodType
from reconciler.errors import UsageError
from reconciler.server import lifecycle
from reconciler.server.graders.settings import GraderSettings
from reconciler.server.trainers.answers import AnswerRefused, End, Piece, Question

GROUP = "reconciler.trainers"
REPORTED_STEPS = 500
"""About how many steps of one run become events; a longer run reports every n-th, and those with a validation."""


def is_reported(step: int, total_steps: int) -> bool:
    """Whether a step's numbers are kept: all of a run of up to 500 steps, else every n-th, and always the last."""
    return step == total_steps or step % -(-total_steps // REPORTED_STEPS) == 0


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """All that training depends on; the same run twice gives the same result.

    ``model`` is what training starts from and ``output_model`` the name of what it makes. Hyperparameters are
    numbers; ``settings`` holds the method's others (grader, response_format). ``rows`` and ``tokens`` are the
    training file's. ``workdir`` is the job's own directory, kept until the job ends. ``state`` is what the last
    Saved carried, None for a start from the beginning. ``integrations`` are services to be told and
    ``metadata`` the job's pairs, as the API has them; so is ``created_at``, in Unix seconds.
    """

    job_id: str
    model: str
    output_model: str
    method: MethodType
    hyperparameters: Mapping[str, Any]
    settings: Mapping[str, Any]
    seed: int
    training_file: Path
    training_sha256: str
    validation_file: Path | None
    validation_sha256: str
    rows: int
    tokens: int
    workdir: Path
    state: bytes | None = None
    integrations: Sequence[Mapping[str, Any]] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    created_at: int = 0

    @property
    def steps_per_epoch(self) -> int:
        """Batches that cover the data once."""
        return -(-self.rows // int(self.hyperparameters["batch_size"]))

    @property
    def total_steps(self) -> int:
        """Steps over all epochs."""
        return self.steps_per_epoch * int(self.hyperparameters["n_epochs"])


class Control:
    """How the engine asks a trainer to stop: look at ``stopping`` between steps, or sleep with ``wait``.

    A trainer that is asked to stop yields a Saved and returns; one that cannot save in time just returns. Where the run
    is ``dropped`` nothing of what it would save is wanted.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._leave = self._drop = False

    @property
    def stopping(self) -> bool:
        """Whether the engine wants this run to stop."""
        return self._stop.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep, or less where a stop is asked for; return whether it is."""
        return self._stop.wait(seconds)

    @property
    def leaving(self) -> bool:
        """Whether the engine ends, or another has taken over: what can train on without it may."""
        return self._leave

    @property
    def dropped(self) -> bool:
        """Whether nobody will go on with this run: its job was cancelled."""
        return self._drop

    def stop(self) -> None:
        """Ask the trainer to stop; said by the engine."""
        self._stop.set()

    def leave(self) -> None:
        """Ask the trainer to stop, unless what trains outlives the engine."""
        self._leave = True
        self._stop.set()

    def drop(self) -> None:
        """Ask the trainer to stop at once, and to save nothing."""
        self._drop = True
        self._stop.set()


@dataclass(frozen=True, slots=True)
class Note:
    """Words for the job's events; the same words are recorded once."""

    message: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step was done. Names of metrics are the API's: train_loss, valid_loss, train_mean_token_accuracy, ...

    ``at`` is when, in Unix seconds, where it may have been long before it is heard of; None: now.
    """

    step: int
    total_steps: int
    metrics: Mapping[str, float]
    at: float | None = None

    @property
    def validated(self) -> bool:
        """Whether its numbers are the validation file's, too."""
        return any(name.startswith(("valid_", "full_valid_")) for name in self.metrics)


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint is on disk: training can go on from ``state``, opaque to the engine, to the same result.

    ``epoch`` is the epoch it ends (from 1), None where it was made because of a stop.
    """

    step: int
    metrics: Mapping[str, float]
    state: bytes
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Trained:
    """The model is made. ``tokens`` were learnt from, over all epochs and pauses."""

    tokens: int


Progress = Note | Step | Saved | Trained


class JobRefused(Exception):
    """A trainer cannot do what a new job asks for. ``param`` names what, as in the body of the request."""

    def __init__(self, code: str, message: str, param: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


class TrainingFailed(Exception):
    """Training cannot succeed. ``code`` is the API's: ``server_error`` says that another attempt may."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


@dataclass(frozen=True, slots=True)
class Placement:
    """Where runs are computed: on this machine (``local``) or on a cluster (``ray``).

    ``gpus`` is how many of this machine's, or ``device=0,2``; None takes all. ``ray_address`` None starts a cluster.
    """

    executor: str = "local"
    gpus: str | None = None
    ray_address: str | None = None


@dataclass(frozen=True, slots=True)
class TrainerOptions:
    """What a trainer is started with.

    ``directory`` is the server's, ``concurrency`` how many runs may be in progress at once, ``catalogue`` the file
    that says which models there are, where one was named. ``speed`` scales simulated time: 2 is twice as fast.
    ``track`` are the words of ``--track``: what shows runs besides what jobs name.
    """

    directory: Path
    concurrency: int = 1
    speed: float = 1.0
    catalogue: Path | None = None
    graders: GraderSettings = field(default_factory=GraderSettings)
    placement: Placement = Placement()
    track: Sequence[str] = ()


class Trainer(ABC):
    """Turns runs into models. Several runs may be in progress at once, each in a thread of its own.

    ``tracks`` says whether it tells a job's integrations, each by the job's id. ``name`` is the one it was found by: a
    job that one trainer accepted is trained by no other.
    """

    tracks: ClassVar[bool] = False
    name: str = ""

    @classmethod
    @abstractmethod
    def start(cls, options: TrainerOptions) -> Self:
        """Make a trainer for a server.

        Raises:
            ReconcilerError: it cannot work with these options, or something that it needs is not installed.
        """

    @property
    def bases(self) -> Sequence[str]:
        """The base models that are listed."""
        return lifecycle.WELL_KNOWN

    @property
    def places(self) -> int | None:
        """How many runs there is room for at once; None where that does not matter."""
        return None

    @property
    def where(self) -> str:
        """What it trains on, for people; nothing where it trains nothing."""
        return ""

    def check(self, job: Mapping[str, Any]) -> None:  # noqa: B027 - most refuse nothing
        """Look at a new job, as the API shows it, before it is created. Its model, where made here, exists.

        Raises:
            JobRefused: something that it asks for cannot be had.
        """

    def reads(self, state: bytes) -> bool:  # noqa: ARG002 - most have one form of state
        """Whether training can go on from what a Saved carried; where not, the job begins anew."""
        return True

    @abstractmethod
    def train(self, run: TrainingRun, control: Control) -> Iterator[Progress]:
        """Train, yielding what happens; return when the model is made, or once asked to stop.

        Steps that a run repeats after a restart, up to where it was, are yielded again and not recorded twice.

        Raises:
            TrainingFailed: the job fails with this code. Any other exception fails it as ``server_error``.
        """

    def keep_only(self, job_ids: Collection[str]) -> None:  # noqa: B027 - most have nothing that outlives them
        """End whatever still trains for a job other than these; said before the first run."""

    def answer(self, question: Question) -> Iterator[Piece | End]:
        """Answer a question to a base, or to a model or checkpoint that was made here; the last is its end.

        Raises:
            AnswerRefused: no answer can be had; before the first piece, or while it is made.
        """
        words = f"This server's trainer makes no weights, so {question.model} cannot answer."
        raise AnswerRefused("model_has_no_weights", words, "model")

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Let go of what is held for answers; the server ends."""

    def delete(self, model: str) -> None:  # noqa: B027 - some keep nothing
        """Let go of what is kept of a model or checkpoint that was deleted."""

    def sweep(self, named: Callable[[str], Collection[str] | None], model: str | None = None) -> None:  # noqa: B027
        """Let go of what is kept of jobs that have ended and goes by no name, of one ``model`` where it is given.

        ``named`` returns the models and checkpoints that are left of a job, by its id; None where it has not ended or
        is unknown, so that all of it stays. What ``named`` raises ends the sweep.
        """


def load_trainer(name: str, options: TrainerOptions) -> Trainer:
    """Find a trainer by its name, and start it.

    Raises:
        UsageError: no such trainer is installed; says which are.
        ReconcilerError: it cannot start.
    """
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        raise UsageError(f"There is no trainer {name!r}.", hint=f"Installed: {', '.join(sorted(found)) or 'none'}.")
    kind: type[Trainer] = found[name].load()
    trainer = kind.start(options)
    trainer.name = name
    return trainer
