"""``calculate_output``: arithmetic as people write it, and nothing else."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.types.graders import expression_names
from reconciler.server.graders.case import GraderFault
from reconciler.server.graders.formula import evaluate

REWARDS = {"a": 0.5, "b": 1.0, "min_length": 0.0}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("a", 0.5),
        (" a + b ", 1.5),
        ("0.25 * a + 0.75 * b", 0.875),
        ("a - b", -0.5),
        ("-a", -0.5),
        ("+a", 0.5),
        ("b / 4", 0.25),
        ("2 ^ 3", 8.0),
        ("2 ** 3", 8.0),
        ("a + b ^ 2", 1.5),
        ("2 * a ^ 2", 0.5),
        ("2 ^ 3 ^ 2", 512.0),
        ("-2 ^ 2", -4.0),
        ("(a + b) / 2", 0.75),
        ("min(a, b, min_length)", 0.0),
        ("max(a, b)", 1.0),
        ("abs(a - b)", 0.5),
        ("floor(a) + ceil(a)", 1.0),
        ("exp(0)", 1.0),
        ("sqrt(4)", 2.0),
        ("log(exp(1))", 1.0),
        ("9" * 300, float("9" * 300)),
    ],
)
def test_an_expression_has_the_value_that_arithmetic_gives_it(expression: str, value: float) -> None:
    assert evaluate(expression, REWARDS) == pytest.approx(value)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "a +",
        "a; b",
        "a if b else 0",
        "a and b",
        "not a",
        "~1",
        "a % b",
        "a // b",
        "1 << 9",
        "a == b",
        "[a]",
        "a[0]",
        "a.real",
        "'text'",
        "True",
        "1j",
        "lambda: 1",
        "(x := 1)",
        "pow(2, 9)",
        "abs(a, b)",
        "min()",
        "min(*a)",
        "max(a, key=b)",
        "abs",
        "__import__('os').system('true')",
        "().__class__.__base__.__subclasses__()",
        "unknown + 1",
        "1 / 0",
        "a / min_length",
        "log(0)",
        "sqrt(-1)",
        "(-8) ^ 0.5",
        "9 ^ 9 ^ 9 ^ 9",
        "exp(1000)",
        "1e308 * 10",
        "9" * 400,
        "(" * 3000 + "1" + ")" * 3000,
        "-" * 4000 + "1",
        "+".join(["a"] * 2000),
    ],
)
def test_anything_else_is_flagged(expression: str) -> None:
    with pytest.raises(GraderFault) as fault:
        evaluate(expression, REWARDS)
    assert fault.value.flag == "formula_parse_error"
    assert fault.value.details.startswith("calculate_output")


def test_a_hundred_graders_can_be_added_up() -> None:
    assert evaluate("+".join(["a"] * 100), REWARDS) == 50


def test_the_names_of_an_expression_are_its_graders_and_no_functions() -> None:
    assert set(expression_names("min(a, b_2) + 3 * c")) == {"a", "b_2", "c"}


@given(st.text(alphabet="ab+-*/^()., 0123456789eminmaxlogsqrt", max_size=60))
def test_any_text_has_a_finite_value_or_is_flagged(expression: str) -> None:
    with contextlib.suppress(GraderFault):
        assert math.isfinite(evaluate(expression, REWARDS))
