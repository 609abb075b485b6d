"""Graders: what turns a sampled answer into a reward between 0 and 1. Source: the graders guide of the API."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from reconciler.api.types.base import Answer, Request

_PATH = r"[A-Za-z_][\w-]*(?:\[\d+\]|\.[\w-]+)*"
_VARIABLE = re.compile(
    rf"\s*(?:item\.{_PATH}|sample\.output_text|sample\.(?:output_json|output_tools|choices)(?:\[\d+\]|\.[\w-]+)*)\s*"
)


def template_parts(text: str) -> Iterator[tuple[str, str | None]]:
    """Split a template into pairs of text and the variable after it, None after the last text. Takes linear time.

    Raises:
        ValueError: braces do not close.
    """
    place = 0
    while (start := text.find("{{", place)) >= 0:
        end = text.find("}}", start + 2)
        if end < 0:
            raise ValueError("a '{{' is never closed by '}}'")
        yield text[place:start], text[start + 2 : end]
        place = end + 2
    yield text[place:], None


def check_template(text: str) -> str:
    """Check every ``{{...}}`` of a template.

    Raises:
        ValueError: for a variable that does not exist, or braces that do not close.
    """
    for _, variable in template_parts(text):
        if variable is not None and not _VARIABLE.fullmatch(variable):
            shown = f"{{{{{variable}}}}}"[:80]
            raise ValueError(
                f"unknown template variable {shown!r}; use {{{{item.FIELD}}}}, {{{{sample.output_text}}}} "
                "or {{sample.output_json.FIELD}}"
            )
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

    max_completions_tokens: Annotated[int, Field(ge=1, strict=True)] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    seed: Annotated[int, Field(strict=True)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, strict=True)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1, strict=True)] | None = None


class ScoreModelGrader(Request):
    """A model gives a number in ``range`` (0 to 1 where not given)."""

    type: Literal["score_model"]
    name: Name
    model: Annotated[str, Field(min_length=1)]
    input: list[GraderMessage]
    range: Annotated[list[Annotated[float, Field(strict=True)]], Field(min_length=2, max_length=2)] | None = None
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
    Annotated[_Inner, Tag("single")] | Annotated[dict[str, _Inner], Field(min_length=1, max_length=100), Tag("named")],
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

ARITY: Mapping[str, tuple[int, int]] = {
    "min": (1, 100),
    "max": (1, 100),
    "abs": (1, 1),
    "floor": (1, 1),
    "ceil": (1, 1),
    "exp": (1, 1),
    "sqrt": (1, 1),
    "log": (1, 1),
}
"""The functions of ``calculate_output``, each with the fewest and the most arguments it takes."""

_DEEPEST = 200
_NODES = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.Call, ast.Name, ast.Load, ast.Constant),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.UAdd, ast.USub),
)


def expression_tree(expression: str) -> ast.expr:
    """Parse a ``calculate_output``.

    Numbers, ``+ - * / ** ^`` (both of the last are powers), parentheses, names, and the functions of ``ARITY`` are
    allowed, nested at most 200 deep.

    Raises:
        ValueError: for anything else.
    """
    try:
        # Python reads ^ as something else, that binds more weakly than +. There are no strings that could hold one.
        tree = ast.parse(expression.strip().replace("^", "**"), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError("calculate_output is not an arithmetic expression") from error
    level: list[ast.AST] = [tree.body]
    for _ in range(_DEEPEST):
        for node in level:
            _check_node(node)
        level = [inner for node in level for inner in ast.iter_child_nodes(node)]
        if not level:
            return tree.body
    raise ValueError(f"calculate_output is nested more than {_DEEPEST} deep")


def _check_node(node: ast.AST) -> None:
    if not isinstance(node, _NODES) or (isinstance(node, ast.Constant) and type(node.value) not in (int, float)):
        raise ValueError(f"calculate_output may not contain {type(node).__name__.lower()}")
    if isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Name) or node.func.id not in ARITY or node.keywords:
            raise ValueError(f"calculate_output may call only {', '.join(sorted(ARITY))}")
        fewest, most = ARITY[node.func.id]
        if not fewest <= len(node.args) <= most:
            takes = "one number" if most == 1 else f"{fewest} to {most} numbers"
            raise ValueError(f"calculate_output: {node.func.id}() takes {takes}, not {len(node.args)}")


def expression_names(expression: str) -> Iterator[str]:
    """Yield the grader names a ``calculate_output`` uses.

    Raises:
        ValueError: it is not an expression as :func:`expression_tree` takes it.
    """
    nodes = list(ast.walk(expression_tree(expression)))
    functions = [node.func for node in nodes if isinstance(node, ast.Call)]
    yield from (node.id for node in nodes if isinstance(node, ast.Name) and node not in functions)


class RunGrader(Request):
    """The body of ``POST /fine_tuning/alpha/graders/run``."""

    grader: Grader
    model_sample: str
    item: dict[str, Any] | None = None


class ValidateGrader(Request):
    """The body of ``POST /fine_tuning/alpha/graders/validate``."""

    grader: Grader


class GraderErrors(Answer):
    """What went wrong in a run. ``details`` says it in words; the API's own types do not have it."""

    formula_parse_error: bool = False
    sample_parse_error: bool = False
    truncated_observation_error: bool = False
    unresponsive_reward_error: bool = False
    invalid_variable_error: bool = False
    other_error: bool = False
    python_grader_server_error: bool = False
    python_grader_server_error_type: str | None = None
    python_grader_runtime_error: bool = False
    python_grader_runtime_error_details: str | None = None
    model_grader_server_error: bool = False
    model_grader_refusal_error: bool = False
    model_grader_parse_error: bool = False
    model_grader_server_error_details: str | None = None
    details: str | None = None


class GraderMetadata(Answer):
    """How a run went. ``execution_time`` is in seconds, ``token_usage`` in tokens, None where no model was asked."""

    name: str
    type: str
    errors: GraderErrors
    execution_time: float
    scores: dict[str, Any]
    token_usage: int | None
    sampled_model_name: str | None


class GraderRun(Answer):
    """The answer of ``/run``. A grader that failed has the reward 0, and ``errors`` say why."""

    reward: float
    sub_rewards: dict[str, float]
    metadata: GraderMetadata
    model_grader_token_usage_per_model: dict[str, Any]


class ValidatedGrader(Answer):
    """The answer of ``/validate``: the grader as it was understood."""

    grader: dict[str, Any]
