"""What is graded, and what can be wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

Flag = Literal[
    "formula_parse_error",
    "sample_parse_error",
    "truncated_observation_error",
    "unresponsive_reward_error",
    "invalid_variable_error",
    "other_error",
    "python_grader_server_error",
    "python_grader_runtime_error",
    "model_grader_server_error",
    "model_grader_refusal_error",
    "model_grader_parse_error",
]
"""The API's names for what may go wrong while grading."""

_LONGEST = 1000


class GraderFault(Exception):
    """This sample got no reward. ``details`` says why, for a person, and may quote what was graded.

    ``kind`` narrows down a ``python_grader_server_error``.
    """

    def __init__(self, flag: Flag, details: str, *, kind: str | None = None) -> None:
        super().__init__(details)
        self.flag = flag
        self.details = clean(details if len(details) <= _LONGEST else f"{details[:_LONGEST]}...")
        self.kind = kind


def clean(text: str) -> str:
    """Replace halves of surrogate pairs, which cannot be sent on."""
    return text.encode(errors="replace").decode()


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens that a model grader took. ``model`` is the one that answered."""

    model: str
    prompt: int = 0
    completion: int = 0
    cached: int = 0


@dataclass(frozen=True)
class Case:
    """A sampled answer beside the row that it answers.

    ``tools`` are the answer's tool calls, in the form of chat completions.
    """

    text: str
    item: Mapping[str, Any] = field(default_factory=dict)
    tools: Sequence[Mapping[str, Any]] = ()

    @cached_property
    def parsed(self) -> object:
        """The answer, read as JSON.

        Raises:
            GraderFault: it is none.
        """
        try:
            return json.loads(self.text, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise GraderFault("sample_parse_error", f"The sample is not JSON: {error}") from error

    @cached_property
    def has_json(self) -> bool:
        """Whether the answer is JSON."""
        try:
            _ = self.parsed
        except GraderFault:
            return False
        return True

    @cached_property
    def sample(self) -> dict[str, Any]:
        """The ``sample`` namespace. ``output_json`` is in it only where the answer is JSON."""
        tools = [dict(tool) for tool in self.tools]
        message = {"role": "assistant", "content": self.text} | ({"tool_calls": tools} if tools else {})
        reason = "tool_calls" if tools else "stop"
        found: dict[str, Any] = {
            "output_text": self.text,
            "output_tools": tools,
            "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        }
        return found | ({"output_json": self.parsed} if self.has_json else {})


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
