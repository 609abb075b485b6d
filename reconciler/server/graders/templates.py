"""``{{item.field}}`` and ``{{sample.output_text}}`` become what they stand for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from reconciler.api.types.graders import template_parts
from reconciler.server.graders.case import Case, GraderFault

LONGEST = 1_000_000
"""Characters that a filled-in template may have: a short one may name a long value many times."""

_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


def render(template: str, case: Case) -> str:
    """Fill in every variable. Text stands as it is, everything else as JSON.

    What is filled in is not looked at again, so an answer that holds braces stays as it is.

    Raises:
        GraderFault: a variable does not exist, ``sample.output_json`` where the answer is not JSON, or the whole
            would be too long.
    """
    found, left = [], LONGEST
    for text, variable in template_parts(template):
        value = "" if variable is None else _text(_value(variable.strip(), case))
        found += [text, value]
        left -= len(text) + len(value)
        if left < 0:
            raise GraderFault("other_error", f"A template, filled in, has more than {LONGEST} characters.")
    return "".join(found)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _value(variable: str, case: Case) -> object:
    namespace, _, path = variable.partition(".")
    steps = [match[1] or match[2] for match in _STEP.finditer(path)]
    if namespace == "item":
        return _follow(case.item, steps, variable)
    if namespace != "sample" or not steps:
        raise GraderFault("invalid_variable_error", f"There is no {{{{{variable}}}}}.")
    if steps[0] == "output_json":
        return _follow(case.parsed, steps[1:], variable)
    return _follow(case.sample, steps, variable)


def _follow(value: object, steps: list[str], variable: str) -> object:
    for step in steps:
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and len(step) < 10 and int(step) < len(value):
            value = value[int(step)]
        else:
            raise GraderFault("invalid_variable_error", f"{{{{{variable}}}}}: there is no {step!r} here.")
    return value
