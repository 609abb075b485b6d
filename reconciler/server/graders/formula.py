"""``calculate_output``: arithmetic over the rewards of several graders."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping

from reconciler.api.types.graders import expression_tree
from reconciler.server.graders.case import GraderFault

_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: math.pow,  # never a large integer, never a complex number
}
_FUNCTIONS: Mapping[str, Callable[..., float]] = {
    "min": lambda *numbers: min(numbers),
    "max": lambda *numbers: max(numbers),
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "exp": math.exp,
    "sqrt": math.sqrt,
    "log": math.log,
}


def evaluate(expression: str, rewards: Mapping[str, float]) -> float:
    """Work out an expression. All numbers are floats, so time and memory are bounded by its length.

    Raises:
        GraderFault: it is no arithmetic expression, names something unknown, or has no finite value.
    """
    try:
        value = _number(expression_tree(expression), rewards)
    except ValueError as error:
        raise GraderFault("formula_parse_error", f"calculate_output: {error}") from error
    except KeyError as error:
        raise GraderFault("formula_parse_error", f"calculate_output uses {error}, which is no grader here.") from error
    except ArithmeticError as error:
        raise GraderFault("formula_parse_error", f"calculate_output has no value: {error}.") from error
    if not math.isfinite(value):
        raise GraderFault("formula_parse_error", "calculate_output has no finite value.")
    return value


def _number(node: ast.expr, rewards: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.Name(id=name):
            return rewards[name]
        case ast.UnaryOp(op=operator, operand=operand):
            value = _number(operand, rewards)
            return -value if isinstance(operator, ast.USub) else value
        case ast.BinOp(left=left, op=operator, right=right):
            return _OPERATORS[type(operator)](_number(left, rewards), _number(right, rewards))
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return float(_FUNCTIONS[name](*[_number(argument, rewards) for argument in arguments]))
    raise ValueError(f"it may not contain {type(node).__name__.lower()}")
