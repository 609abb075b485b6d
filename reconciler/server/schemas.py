"""The answers as the OpenAPI document describes them. They are not validated again when they are sent."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from reconciler.api.types import CheckpointMetrics, Integration

T = TypeVar("T")


class _Shown(BaseModel):
    model_config = ConfigDict(extra="allow")


class Error(_Shown):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(_Shown):
    """The shape of every answer that refuses something."""

    error: Error


class FailureOfJob(_Shown):
    """Why a job failed."""

    code: str
    message: str
    param: str | None


class JobAnswer(_Shown):
    """A fine-tuning job."""

    id: str
    object: Literal["fine_tuning.job"]
    created_at: int
    finished_at: int | None
    estimated_finish: int | None
    model: str
    fine_tuned_model: str | None
    organization_id: str
    status: Literal["validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"]
    training_file: str
    validation_file: str | None
    result_files: list[str]
    hyperparameters: dict[str, Any]
    method: dict[str, Any]
    integrations: list[Integration]
    seed: int
    metadata: dict[str, str] | None
    trained_tokens: int | None
    error: FailureOfJob | None
    user_provided_suffix: str | None


class EventAnswer(_Shown):
    """An event of a job."""

    id: str
    object: Literal["fine_tuning.job.event"]
    created_at: int
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any]


class CheckpointAnswer(_Shown):
    """A checkpoint of a job."""

    id: str
    object: Literal["fine_tuning.job.checkpoint"]
    created_at: int
    fine_tuning_job_id: str
    fine_tuned_model_checkpoint: str
    step_number: int
    metrics: CheckpointMetrics


class FileAnswer(_Shown):
    """A file."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["processed"]
    expires_at: int | None = None


class UploadAnswer(_Shown):
    """An upload in parts. ``bytes`` is what they are to come to; ``file`` is there once it is completed."""

    id: str
    object: Literal["upload"]
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: Literal["pending", "completed", "cancelled", "expired"]
    file: FileAnswer | None


class PartAnswer(_Shown):
    """A part of an upload."""

    id: str
    object: Literal["upload.part"]
    created_at: int
    upload_id: str


class PermissionAnswer(_Shown):
    """A project's permission to use a checkpoint."""

    id: str
    object: Literal["checkpoint.permission"]
    created_at: int
    project_id: str


class ModelAnswer(_Shown):
    """A model."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ChatMessageAnswer(_Shown):
    """What a model said."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None


class ChatChoice(_Shown):
    """An answer, and why it ended."""

    index: int
    message: ChatMessageAnswer
    finish_reason: Literal["stop", "length", "tool_calls"]


class ChatUsage(_Shown):
    """How many tokens a question and its answer took."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatAnswer(_Shown):
    """A completion of a chat."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: ChatUsage


class Deleted(_Shown):
    """Something is gone."""

    id: str
    object: str
    deleted: Literal[True]


class Listing(_Shown, Generic[T]):
    """A page."""

    object: Literal["list"]
    data: list[T]
    has_more: bool


class EdgedListing(Listing[T], Generic[T]):
    """A page that names its ends."""

    first_id: str | None
    last_id: str | None


class ModelListing(_Shown):
    """All models."""

    object: Literal["list"]
    data: list[ModelAnswer]


class Health(_Shown):
    """How the server is."""

    status: Literal["ok", "degraded"]
    version: str
    instance: str
    training: bool
    chaos: dict[str, Any] | None = None


REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": words}
    for status, words in {
        400: "The request is wrong; `param` says where.",
        401: "The key is missing or wrong.",
        404: "There is no such object.",
        413: "The body is too large.",
        429: "Too much at once.",
        503: "The database cannot be used.",
        507: "The disk is full.",
    }.items()
}
