"""The two bases of all wire types, and the field types that several share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Request(BaseModel):
    """What is sent: unknown keys, wrong types and values out of range are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Answer(BaseModel):
    """What is received: unknown fields are kept and never an error."""

    model_config = ConfigDict(extra="allow", frozen=True)


Auto = Literal["auto"]


def _number(value: object) -> object:
    """Refuse what pydantic would quietly turn into a number: booleans and strings are mistakes here."""
    if isinstance(value, bool) or (isinstance(value, str) and value != "auto"):
        raise ValueError('must be a number or "auto"')
    return value


_Number = BeforeValidator(_number)  # after the bounds in each list, so that a schema shows them

BatchSize = Annotated[Auto | Annotated[int, Field(ge=1, le=256), _Number], Field(description="Rows a step.")]
LearningRateMultiplier = Annotated[
    Auto | Annotated[float, Field(gt=0), _Number], Field(description="Of the model's base learning rate.")
]
Epochs = Annotated[Auto | Annotated[int, Field(ge=1, le=50), _Number], Field(description="Passes over the data.")]
Beta = Annotated[
    Auto | Annotated[float, Field(gt=0, le=2), _Number], Field(description="Weight of the penalty between policies.")
]
ComputeMultiplier = Annotated[
    Auto | Annotated[float, Field(gt=0.00001, le=10), _Number], Field(description="Compute spent on exploration.")
]
EvalCount = Annotated[Auto | Annotated[int, Field(ge=1), _Number], Field(description="A number of steps or samples.")]
