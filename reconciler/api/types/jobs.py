"""Jobs, events and checkpoints. Times are Unix seconds."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import Field, field_validator, model_validator

from reconciler.api.types.base import Answer, Request
from reconciler.api.types.method import Method, SupervisedHyperparameters

TERMINAL = frozenset({"succeeded", "failed", "cancelled"})
"""Statuses that never change again."""

ACTIVE = frozenset({"validating_files", "queued", "running", "paused", "pending", "pausing", "resuming"})
"""Known statuses of a job that still may train. A status in neither set is treated as in flight."""


class Wandb(Request):
    """Where Weights & Biases shows the run."""

    project: Annotated[str, Field(min_length=1)]
    entity: str | None = None
    name: str | None = None
    tags: list[str] | None = None


class Integration(Request):
    """A service that is told about the run."""

    type: Literal["wandb"]
    wandb: Wandb


MetadataKey = Annotated[str, Field(max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]
Suffix = Annotated[str, Field(min_length=1, max_length=64)]
Seed = Annotated[int, Field(ge=0, le=2_147_483_647, strict=True)]


class CreateJob(Request):
    """The body of ``POST /fine_tuning/jobs``."""

    model: Annotated[str, Field(min_length=1, max_length=256)]
    training_file: Annotated[str, Field(min_length=1, max_length=256)]
    validation_file: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    suffix: Suffix | None = None
    seed: Seed | None = None
    method: Method | None = None
    hyperparameters: SupervisedHyperparameters | None = Field(
        default=None, description="Supervised only; use method.", json_schema_extra={"deprecated": True}
    )
    integrations: Annotated[list[Integration], Field(max_length=5)] | None = None
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)] | None = None

    @model_validator(mode="after")
    def _one_home_for_hyperparameters(self) -> Self:
        if self.hyperparameters is not None and self.method is not None:
            raise ValueError("give hyperparameters inside method, not beside it")
        return self


class JobError(Answer):
    """Why a job failed."""

    code: str | None = None
    message: str | None = None
    param: str | None = None


class Job(Answer):
    """A fine-tuning job as a server shows it.

    ``status`` is an open string. ``method`` and ``integrations`` stay as received: servers fill in defaults, and
    none of that is ours to judge here.
    """

    id: str
    object: str = "fine_tuning.job"
    created_at: int
    finished_at: int | None = None
    estimated_finish: int | None = None
    model: str
    fine_tuned_model: str | None = None
    organization_id: str | None = None
    status: str
    training_file: str | None = None
    validation_file: str | None = None
    result_files: list[str] | None = None
    hyperparameters: dict[str, Any] | None = None
    method: dict[str, Any] | None = None
    integrations: list[dict[str, Any]] | None = None
    seed: int | None = None
    metadata: dict[str, str] | None = None
    trained_tokens: int | None = None
    error: JobError | None = None

    @field_validator("error", mode="before")
    @classmethod
    def _empty_error_is_none(cls, value: Any) -> Any:  # noqa: ANN401
        """A healthy job may carry ``{}``, or an error whose every field is null."""
        return None if isinstance(value, dict) and not any(value.values()) else value

    @property
    def terminal(self) -> bool:
        """Whether this job can never change again."""
        return self.status in TERMINAL


class Event(Answer):
    """Something that happened to a job. ``data`` of a ``metrics`` event holds the step's numbers."""

    id: str
    object: str = "fine_tuning.job.event"
    created_at: int
    level: str = "info"
    message: str = ""
    type: str | None = None
    data: dict[str, Any] | None = None


class CheckpointMetrics(Answer):
    """What was measured at a checkpoint; None where it was not. Rewards are reinforcement's."""

    step: float | None = None
    train_loss: float | None = None
    train_mean_token_accuracy: float | None = None
    valid_loss: float | None = None
    valid_mean_token_accuracy: float | None = None
    full_valid_loss: float | None = None
    full_valid_mean_token_accuracy: float | None = None
    train_reward_mean: float | None = None
    valid_reward_mean: float | None = None
    full_valid_reward_mean: float | None = None


class Checkpoint(Answer):
    """A model as it was at a step of its training."""

    id: str
    object: str = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuned_model_checkpoint: str
    step_number: int
    metrics: CheckpointMetrics = CheckpointMetrics()
    fine_tuning_job_id: str | None = None


class Permission(Answer):
    """A project's permission to use a checkpoint."""

    id: str
    object: str = "checkpoint.permission"
    created_at: int
    project_id: str


T = TypeVar("T")


class Page(Answer, Generic[T]):
    """One page of a listing. ``first_id`` and ``last_id`` are absent on some endpoints."""

    object: str = "list"
    data: list[T]
    has_more: bool = False
    first_id: str | None = None
    last_id: str | None = None
