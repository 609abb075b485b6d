"""Training methods and their hyperparameters, with the API's ranges."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from reconciler.api.types.base import (
    BatchSize,
    Beta,
    ComputeMultiplier,
    Epochs,
    EvalCount,
    LearningRateMultiplier,
    Request,
)
from reconciler.api.types.graders import Grader

MethodType = Literal["supervised", "dpo", "reinforcement"]


class SupervisedHyperparameters(Request):
    """Hyperparameters of supervised fine-tuning."""

    batch_size: BatchSize | None = None
    learning_rate_multiplier: LearningRateMultiplier | None = None
    n_epochs: Epochs | None = None


class DpoHyperparameters(SupervisedHyperparameters):
    """Hyperparameters of direct preference optimisation (Rafailov et al., 2023)."""

    beta: Beta | None = None


class ReinforcementHyperparameters(SupervisedHyperparameters):
    """Hyperparameters of reinforcement fine-tuning."""

    compute_multiplier: ComputeMultiplier | None = None
    eval_interval: EvalCount | None = None
    eval_samples: EvalCount | None = None
    reasoning_effort: Literal["default", "low", "medium", "high"] | None = None


class SupervisedMethod(Request):
    """Settings of supervised fine-tuning."""

    hyperparameters: SupervisedHyperparameters | None = None


class DpoMethod(Request):
    """Settings of direct preference optimisation."""

    hyperparameters: DpoHyperparameters | None = None


class ReinforcementMethod(Request):
    """Settings of reinforcement fine-tuning: what grades an answer, and its shape."""

    grader: Grader
    hyperparameters: ReinforcementHyperparameters | None = None
    response_format: dict[str, Any] | None = Field(
        default=None, description='A structured output: {"type": "json_schema", "json_schema": {...}}.'
    )


class Method(Request):
    """A method by its type; settings under any other type's key are an error."""

    type: MethodType
    supervised: SupervisedMethod | None = None
    dpo: DpoMethod | None = None
    reinforcement: ReinforcementMethod | None = None

    @model_validator(mode="after")
    def _only_its_own_settings(self) -> Self:
        others = [name for name in ("supervised", "dpo", "reinforcement") if name != self.type]
        if extra := [name for name in others if getattr(self, name) is not None]:
            raise ValueError(f"method is {self.type}, so '{extra[0]}' does not belong here")
        if self.type == "reinforcement" and self.reinforcement is None:
            raise ValueError("reinforcement needs a grader")
        return self

    @property
    def settings(self) -> SupervisedMethod | DpoMethod | ReinforcementMethod | None:
        """The settings of the chosen type, None where all are left to the server."""
        return {"supervised": self.supervised, "dpo": self.dpo, "reinforcement": self.reinforcement}[self.type]
