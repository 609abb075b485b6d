"""Graders: what turns a sampled answer into a reward between 0 and 1. Source: the graders guide of the API."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from reconciler.api.types.base import Request

_TEMPLATE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_PATH = r"[A-Za-z_][\w-]*(?:\[\d+\]|\.[\w-]+)*"
_VARIABLE = re.compile(
    rf"\s*(?:item\.{_PATH}|sample\.output_text|sample\.output_json(?:\.{_PATH})?|sample\.output_tools(?:\[\d+\]|\.[\w-]+)*"
    rf"|sample\.choices(?:\[\d+\]|\.[\w-]+)*)\s*"
)


def check_template(text: str) -> str:
    """Check every ``{{...}}`` of a template.

    Raises:
        ValueError: for a variable that does not exist, or braces that do not close.
    """
    for match in _TEMPLATE.finditer(text):
        if not _VARIABLE.fullmatch(match[1]):
            raise ValueError(
                f"unknown template variable {match[0][:80]!r}; use {{{{item.FIELD}}}}, {{{{sample.output_text}}}} "
                "or {{sample.output_json.FIELD}}"
            )
    if "{{" in _TEMPLATE.sub("", text):
        raise ValueError("a '{{' is never closed by '}}'")
    return text


Template = Annotated[str, AfterValidator(check_template)]
Name = Annotated[str, Field(min_length=1, max_length=256)]


class StringCheckGrader(Request):
    """Compares two strings: 1 where the operation holds, else 0."""

    type: Literal["string_check"]
    name: Name
    input: Template
    reference: Template
    operation: Literal["eq", "ne", "like", "ilike"]


class TextSimilarityGrader(Request):
    """A similarity of two texts between 0 and 1."""

    type: Literal["text_similarity"]
    name: Name
    input: Template
    reference: Template
    evaluation_metric: Literal[
        "cosine",
        "fuzzy_match",
        "bleu",
        "gleu",
        "meteor",
        "rouge_1",
        "rouge_2",
        "rouge_3",
        "rouge_4",
        "rouge_5",
        "rouge_l",
    ]


class PythonGrader(Request):
    """A Python source with ``grade(sample, item) -> float``."""

    type: Literal["python"]
    name: Name
    source: Annotated[str, Field(min_length=1, max_length=262_144)]
    image_tag: str | None = None


class _Text(Request):
    type: Literal["input_text", "output_text"]
    text: Template


class _Image(Request):
    type: Literal["input_image"]
    image_url: Template
    detail: str | None = None


class _AudioData(Request):
    data: str
    format: Literal["mp3", "wav"]


class _Audio(Request):
    type: Literal["input_audio"]
    input_audio: _AudioData


_Item = Template | _Text | _Image | _Audio


class GraderMessage(Request):
    """One message of a model grader's prompt."""

    role: Literal["user", "assistant", "system", "developer"]
    content: _Item | list[_Item]
    type: Literal["message"] | None = None


class SamplingParams(Request):
    """How a model grader samples."""

    max_completions_tokens: Annotated[int, Field(ge=1)] | None = None
    reasoning_effort: str | None = None
    seed: int | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None


class ScoreModelGrader(Request):
    """A model gives a number in ``range`` (0 to 1 where not given)."""

    type: Literal["score_model"]
    name: Name
    model: Annotated[str, Field(min_length=1)]
    input: list[GraderMessage]
    range: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    sampling_params: SamplingParams | None = None

    @model_validator(mode="after")
    def _range_rises(self) -> Self:
        if self.range and self.range[0] >= self.range[1]:
            raise ValueError("range must rise: [lowest, highest]")
        return self


class LabelModelGrader(Request):
    """A model picks a label. The API takes it inside ``multi`` only."""

    type: Literal["label_model"]
    name: Name
    model: Annotated[str, Field(min_length=1)]
    input: list[GraderMessage]
    labels: Annotated[list[str], Field(min_length=1)]
    passing_labels: list[str]

    @model_validator(mode="after")
    def _passing_are_labels(self) -> Self:
        if unknown := sorted(set(self.passing_labels) - set(self.labels)):
            raise ValueError(f"passing label {unknown[0]!r} is not one of the labels")
        return self


_Inner = Annotated[
    StringCheckGrader | TextSimilarityGrader | PythonGrader | ScoreModelGrader | LabelModelGrader,
    Field(discriminator="type"),
]


def _shape(value: object) -> str:
    """The API's prose shows named graders; its published schema shows a single one. Both are in use."""
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return "single" if isinstance(kind, str) else "named"


Graders = Annotated[
    Annotated[_Inner, Tag("single")] | Annotated[dict[str, _Inner], Field(min_length=1), Tag("named")],
    Discriminator(_shape),
]


class MultiGrader(Request):
    """Several graders, combined by an arithmetic expression over their names."""

    type: Literal["multi"]
    name: Name
    graders: Graders
    calculate_output: Annotated[str, Field(min_length=1, max_length=4096)]

    @model_validator(mode="after")
    def _output_uses_known_names(self) -> Self:
        names = set(self.graders) if isinstance(self.graders, dict) else {self.graders.name}
        for name in expression_names(self.calculate_output):
            if name not in names:
                raise ValueError(f"calculate_output uses {name!r}, which is no grader here: {', '.join(sorted(names))}")
        return self


Grader = Annotated[
    StringCheckGrader | TextSimilarityGrader | PythonGrader | ScoreModelGrader | MultiGrader,
    Field(discriminator="type"),
]

_FUNCTIONS = {"min", "max", "abs", "floor", "ceil", "exp", "sqrt", "log"}
_ALLOWED = (
    ast.Expression,
    ast.BinOp,
    ast.UnaryOp,
    ast.Call,
    ast.Name,
    ast.Load,
    ast.Constant,
    ast.operator,
    ast.unaryop,
)


def expression_names(expression: str) -> Iterator[str]:
    """Yield the grader names a ``calculate_output`` uses.

    Numbers, ``+ - * / ** ^``, parentheses and the functions min, max, abs, floor, ceil, exp, sqrt and log are
    allowed.

    Raises:
        ValueError: for anything else.
    """
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError("calculate_output is not an arithmetic expression") from error
    functions = set()
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED) or (isinstance(node, ast.Constant) and type(node.value) not in (int, float)):
            raise ValueError(f"calculate_output may not contain {type(node).__name__.lower()}")
        if isinstance(node, ast.Call):
            if not isinstance(node.func, ast.Name) or node.func.id not in _FUNCTIONS or node.keywords:
                raise ValueError(f"calculate_output may call only {', '.join(sorted(_FUNCTIONS))}")
            functions.add(node.func)
    yield from (n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and n not in functions)
