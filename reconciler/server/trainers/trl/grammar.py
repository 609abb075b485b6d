"""What answers are held to, from the API's ``response_format`` to a grammar of llguidance's."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.errors import MissingExtra

INVALID = "invalid_json_schema"
"""Code of an error for a schema that no answer can be held to."""

_TYPES = ("text", "json_object", "json_schema")
_SPACE = r"( |\n {0,20})"
"""What may stand between two parts of JSON, or nothing: room to lay it out, and none to go on with blanks for ever."""


class BadFormat(ValueError):
    """Answers cannot be held to this ``response_format``; the message says where in it, and why."""


@dataclass(frozen=True, slots=True)
class Held:
    """A schema that answers are held to, as llguidance reads it.

    ``passed_over`` says what of it cannot be held, which only a schema that is not strict may ask for.
    """

    schema: Mapping[str, Any]
    passed_over: Sequence[str] = ()

    def grammar(self, tools: Sequence[Mapping[str, Any]] = ()) -> str:
        """Return the grammar of answers to a question; where it has tools, calls of these are answers too."""
        from llguidance import LLMatcher  # noqa: PLC0415 - of the extra

        if not (names := [name for tool in tools if (name := _name(tool))]):
            return str(LLMatcher.grammar_from_json_schema(json.dumps(self.schema)))
        call = {
            "type": "object",
            "properties": {"name": {"enum": names}, "arguments": {"type": "object"}},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        lines = (
            "start: answer | call (SPACE? call)*",
            f"answer: %json {json.dumps(self.schema)}",
            'call: "<tool_call>" SPACE? function SPACE? "</tool_call>"',
            f"function: %json {json.dumps(_read(call))}",
            "SPACE: / |\\n/",
        )
        return str(LLMatcher.grammar_from_lark("\n".join(lines)))


def held_by(response_format: Mapping[str, Any] | None) -> Held | None:
    """Return what answers are held to; None where they may be any text.

    A strict schema is held whole, or refused. Of another one, what llguidance does not know is passed over.

    Raises:
        BadFormat: it is none of the API's, or its schema is none, or cannot be held.
        MissingExtra: llguidance is not installed.
    """
    kind = (response_format or {}).get("type", "text")
    if kind not in _TYPES:
        raise BadFormat(f"type must be one of {', '.join(_TYPES)}, not {str(kind)[:40]!a}")
    if response_format is None or kind == "text":
        return None
    if importlib.util.find_spec("llguidance") is None:
        raise MissingExtra("What holds answers to a schema", "train")
    given = _object(response_format, "json_schema") if kind == "json_schema" else {}
    schema = _object(given, "schema", "json_schema.") if given.get("schema") is not None else {"type": "object"}
    found = Held(_read(schema, strict=given.get("strict") is True))
    return Held(found.schema, _checked(found))


def _checked(found: Held) -> Sequence[str]:
    from llguidance import LLMatcher  # noqa: PLC0415

    try:
        wrong, said = LLMatcher.validate_grammar_with_warnings(found.grammar())
    except (ValueError, RecursionError) as error:
        raise BadFormat(f"json_schema.schema: {error}") from error
    if wrong:
        raise BadFormat(f"json_schema.schema: {' '.join(str(said[0]).split())}")
    return [str(each) for each in said]


def _read(schema: Mapping[str, Any], *, strict: bool = True) -> dict[str, Any]:
    """Say how llguidance is to read a schema: in the schema itself, as it has it."""
    options = {"whitespace_pattern": _SPACE, "lenient": not strict, "coerce_one_of": not strict}
    return {**schema, "x-guidance": options}


def _object(owner: Mapping[str, Any], key: str, before: str = "") -> Mapping[str, Any]:
    if not isinstance(value := owner.get(key), Mapping):
        raise BadFormat(f"{before}{key} must be an object")
    return value


def _name(tool: Mapping[str, Any]) -> str | None:
    function = tool.get("function")
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else None
