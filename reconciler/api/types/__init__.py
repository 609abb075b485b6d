"""The wire types of the fine-tuning API, for the client and for the server.

What is *sent* is strict (:class:`Request`): an unknown key or a value out of range is an error with its place.
What is *received* is tolerant (:class:`Answer`): unknown fields are kept, statuses are open strings, what may
be null somewhere is optional. Source: the API reference, and the types of the ``openai`` package.
"""

from reconciler.api.types.base import Answer, Auto, Request
from reconciler.api.types.files import FileObject, ModelObject, Upload, UploadPart
from reconciler.api.types.graders import (
    Grader,
    GraderErrors,
    GraderMessage,
    GraderMetadata,
    GraderRun,
    LabelModelGrader,
    MultiGrader,
    PythonGrader,
    RunGrader,
    ScoreModelGrader,
    StringCheckGrader,
    TextSimilarityGrader,
    ValidatedGrader,
    ValidateGrader,
)
from reconciler.api.types.jobs import (
    ACTIVE,
    TERMINAL,
    Checkpoint,
    CheckpointMetrics,
    CreateJob,
    Event,
    Integration,
    Job,
    JobError,
    Page,
    Permission,
    Wandb,
)
from reconciler.api.types.method import (
    DpoHyperparameters,
    DpoMethod,
    Method,
    MethodType,
    ReinforcementHyperparameters,
    ReinforcementMethod,
    SupervisedHyperparameters,
    SupervisedMethod,
)

__all__ = [
    "ACTIVE",
    "TERMINAL",
    "Answer",
    "Auto",
    "Checkpoint",
    "CheckpointMetrics",
    "CreateJob",
    "DpoHyperparameters",
    "DpoMethod",
    "Event",
    "FileObject",
    "Grader",
    "GraderErrors",
    "GraderMessage",
    "GraderMetadata",
    "GraderRun",
    "Integration",
    "Job",
    "JobError",
    "LabelModelGrader",
    "Method",
    "MethodType",
    "ModelObject",
    "MultiGrader",
    "Page",
    "Permission",
    "PythonGrader",
    "ReinforcementHyperparameters",
    "ReinforcementMethod",
    "Request",
    "RunGrader",
    "ScoreModelGrader",
    "StringCheckGrader",
    "SupervisedHyperparameters",
    "SupervisedMethod",
    "TextSimilarityGrader",
    "Upload",
    "UploadPart",
    "ValidateGrader",
    "ValidatedGrader",
    "Wandb",
]
