"""Training rows: the shapes a JSONL file may hold, by method. Pure; the client and the server judge alike.

A row is one JSON object on one line, in UTF-8. Per method:

- ``supervised``: a chat, ``{"messages": [..., {"role": "assistant", ...}], "tools"?, "parallel_tool_calls"?,
  "functions"?}``, or for completion models ``{"prompt", "completion"}``. One file holds one of the two.
- ``dpo``: ``{"input": {"messages": [...], "tools"?}, "preferred_output": [...], "non_preferred_output": [...]}``.
- ``reinforcement``: ``{"messages": [..., {"role": "user", ...}], ...}``; what else it holds is for the grader.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from reconciler.api.types.method import MethodType

BAD_ROW = "invalid_file_format"
"""Code of an error in one row."""
TOO_FEW_ROWS = "invalid_n_examples"
"""Code of an error for a file with too few rows."""

_Object = dict[str, Any]
_Check = Callable[[_Object], list[Any]]


class RowError(ValueError):
    """A training file is refused: ``line`` (from 1) is where, ``message`` is what is wrong and what to do."""

    def __init__(self, code: str, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.code = code
        self.line = line
        self.message = message


class _Fault(Exception):
    """What is wrong in one row, in words; its line is added once."""


@dataclass(frozen=True, slots=True)
class RowSummary:
    """What a file of good rows holds.

    ``tokens`` is an estimate for one pass over the file: a quarter of the UTF-8 bytes of all text the model reads
    or learns, rounded up for each row. Images, and the fields that only a grader reads, are not counted.
    """

    rows: int
    tokens: int


def check_rows(method: MethodType, lines: Iterable[bytes], *, minimum: int = 10) -> RowSummary:
    """Check the lines of a training file, in one pass, holding one row at a time.

    Empty lines are allowed at the end only.

    Raises:
        RowError: at the first bad row, or where there are fewer than ``minimum`` rows.
    """
    rows = tokens = number = blank = 0
    shape: _Check | None = None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            blank = blank or number
            continue
        if blank:
            raise RowError(BAD_ROW, blank, "is empty; only the end of the file may have empty lines")
        try:
            row = _parse(line)
            check = _shape(method, row)
            shape = shape or check
            if check is not shape:
                raise RowError(BAD_ROW, number, "mixes chats with prompt/completion rows; a file holds one of the two")
            tokens += -(-sum(map(_text_bytes, check(row))) // 4)
        except _Fault as fault:
            raise RowError(BAD_ROW, number, str(fault)) from fault.__cause__
        rows += 1
    if rows < minimum:
        raise RowError(TOO_FEW_ROWS, number or 1, f"the file ends after {rows} rows, but at least {minimum} are needed")
    return RowSummary(rows, tokens)


def _parse(line: bytes) -> _Object:
    if line.startswith(b"\xef\xbb\xbf"):
        raise _Fault("starts with a byte-order mark; save the file as UTF-8 without one")
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise _Fault(f"is not UTF-8 at byte {error.start + 1}; save the file as UTF-8") from error
    try:  # refuses NaN, lone surrogates, numbers without end and deep nesting, which json would let pass or die of
        from_json(line, allow_inf_nan=False)
    except ValueError as error:
        raise _Fault(f"is not valid JSON: {str(error).replace('line 1 ', '')}") from error
    row = _DECODER.decode(text)
    if not isinstance(row, dict):
        raise _Fault(f"must be a JSON object, not {_kind(row)}")
    return row


def _no_repeated_key(pairs: list[tuple[str, Any]]) -> _Object:
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        raise _Fault(f"has the key {_quote(next(key for key in keys if keys.count(key) > 1))} twice")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_no_repeated_key)


def _shape(method: MethodType, row: _Object) -> _Check:
    if method == "dpo":
        return _preference
    if method == "reinforcement":
        return _reinforcement
    return _completion if "messages" not in row and row.keys() & {"prompt", "completion"} else _chat


def _chat(row: _Object) -> list[Any]:
    messages = _messages(_needed(row, "messages"), "messages")
    if messages[-1]["role"] != "assistant":
        raise _Fault("the last message must be from the assistant: it is what the model learns")
    return [messages, *_tools(row, "")]


def _completion(row: _Object) -> list[Any]:
    return [_string(_needed(row, key), key) for key in ("prompt", "completion")]


def _preference(row: _Object) -> list[Any]:
    source = _object(_needed(row, "input"), "input")
    asked = _messages(_needed(source, "messages", "input."), "input.messages")
    if asked[-1]["role"] == "assistant":
        raise _Fault("input.messages must not end with the assistant: the outputs are the assistant's turn")
    outputs = [_output(_needed(row, key), key, asked) for key in ("preferred_output", "non_preferred_output")]
    return [asked, *_tools(source, "input."), *outputs]


def _output(value: object, at: str, asked: list[_Object]) -> list[_Object]:
    output = _messages(value, at, before=asked)
    if any(message["role"] not in {"assistant", "tool"} for message in output) or output[-1]["role"] != "assistant":
        raise _Fault(f"{at} may hold assistant and tool messages only, and must end with the assistant's")
    return output


def _reinforcement(row: _Object) -> list[Any]:
    messages = _messages(_needed(row, "messages"), "messages")
    if messages[-1]["role"] != "user":
        raise _Fault("the last message must be from the user: the model's answer to it is graded")
    return [messages, *_tools(row, "")]


_MESSAGE_KEYS = {
    "role",
    "content",
    "name",
    "weight",
    "refusal",
    "audio",
    "tool_calls",
    "tool_call_id",
    "function_call",
}
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def _messages(value: object, at: str, *, before: list[_Object] | None = None) -> list[_Object]:
    """Check a conversation, where ``before`` is what was said earlier."""
    messages = _list(value, at)
    called = {call["id"] for message in before or () for call in message.get("tool_calls") or ()}
    for index, item in enumerate(messages):
        place = f"{at}[{index}]"
        message = _object(item, place)
        _message(message, place)
        if message["role"] == "tool" and _string(_needed(message, "tool_call_id", f"{place}."), place) not in called:
            raise _Fault(f"{place}.tool_call_id answers no tool call of an earlier assistant message")
        called.update(call["id"] for call in message.get("tool_calls") or ())
    return messages


def _message(message: _Object, at: str) -> None:
    role = _needed(message, "role", f"{at}.")
    if role not in _ROLES:
        raise _Fault(f"{at}.role must be one of {', '.join(_ROLES)}, not {_quote(role)}")
    if unknown := message.keys() - _MESSAGE_KEYS:
        raise _Fault(f"{at} has the unknown key {_quote(min(unknown))}; known are {', '.join(sorted(_MESSAGE_KEYS))}")
    if (name := message.get("name")) is not None:
        _string(name, f"{at}.name")
    elif role == "function":
        raise _Fault(f"{at} needs 'name': the function that answers")
    weight = message.get("weight")
    if weight is not None and (isinstance(weight, bool) or weight not in (0, 1)):
        raise _Fault(f"{at}.weight must be 0 or 1, not {_quote(weight)}")
    if role == "assistant":
        _calls(message, at)
    elif message.get("tool_calls") or message.get("function_call"):
        raise _Fault(f"{at}: only the assistant calls tools, not the role {_quote(role)}")
    _content(message, role, at)


def _calls(message: _Object, at: str) -> None:
    for index, item in enumerate(_list(message.get("tool_calls"), f"{at}.tool_calls", optional=True)):
        place = f"{at}.tool_calls[{index}]"
        call = _object(item, place)
        _string(_needed(call, "id", f"{place}."), f"{place}.id")
        if call.get("type", "function") != "function":
            raise _Fault(f"{place}.type must be 'function', not {_quote(call['type'])}")
        _call(_needed(call, "function", f"{place}."), f"{place}.function")
    if (legacy := message.get("function_call")) is not None:
        _call(legacy, f"{at}.function_call")


def _call(value: object, at: str) -> None:
    call = _object(value, at)
    for key in ("name", "arguments"):
        _string(_needed(call, key, f"{at}."), f"{at}.{key}")


_NO_TEXT = {"image_url", "input_audio", "file"}
_PARTS = ("text", "refusal", *sorted(_NO_TEXT))


def _content(message: _Object, role: str, at: str) -> None:
    content = message.get("content")
    if content is None:
        instead = role == "assistant" and any(
            message.get(k) for k in ("tool_calls", "function_call", "refusal", "audio")
        )
        if not instead and not (role == "function" and "content" in message):
            raise _Fault(f"{at} needs 'content': a string or a list of parts")
    elif not isinstance(content, str):
        for index, item in enumerate(_list(content, f"{at}.content", what="a string or a list of parts")):
            _part(_object(item, f"{at}.content[{index}]"), role, f"{at}.content[{index}]")


def _part(part: _Object, role: str, at: str) -> None:
    kind = _needed(part, "type", f"{at}.")
    if not isinstance(kind, str) or kind not in _PARTS:
        raise _Fault(f"{at}.type must be one of {', '.join(_PARTS)}, not {_quote(kind)}")
    value = _needed(part, kind, f"{at}.")
    if kind in {"text", "refusal"}:
        _string(value, f"{at}.{kind}")
    elif role != "user":
        raise _Fault(f"{at}: only the user may send a part of type {_quote(kind)}")
    elif kind == "image_url":
        _string(_needed(_object(value, f"{at}.image_url"), "url", f"{at}.image_url."), f"{at}.image_url.url")


def _tools(row: _Object, at: str) -> list[Any]:
    """Check what the model may call. Returns it, as text the model reads."""
    tools = _list(row.get("tools"), f"{at}tools", optional=True)
    for index, item in enumerate(tools):
        place = f"{at}tools[{index}]"
        tool = _object(item, place)
        if tool.get("type") != "function":
            raise _Fault(f"{place}.type must be 'function', not {_quote(tool.get('type'))}")
        _function(_needed(tool, "function", f"{place}."), f"{place}.function")
    functions = _list(row.get("functions"), f"{at}functions", optional=True)
    for index, item in enumerate(functions):
        _function(item, f"{at}functions[{index}]")
    if not isinstance(row.get("parallel_tool_calls", True), bool):
        raise _Fault(f"{at}parallel_tool_calls must be true or false")
    return [tools, functions]


def _function(value: object, at: str) -> None:
    function = _object(value, at)
    _string(_needed(function, "name", f"{at}."), f"{at}.name")
    if (parameters := function.get("parameters")) is not None:
        _object(parameters, f"{at}.parameters")


def _text_bytes(value: object) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode())
    if isinstance(value, list):
        return sum(map(_text_bytes, value))
    if isinstance(value, dict):
        return sum(_text_bytes(item) for key, item in value.items() if key not in _NO_TEXT)
    return 0


def _needed(owner: _Object, key: str, at: str = "") -> object:
    if key not in owner:
        raise _Fault(f"'{at}{key}' is missing")
    return owner[key]


def _object(value: object, at: str) -> _Object:
    if not isinstance(value, dict):
        raise _Fault(f"{at} must be an object, not {_kind(value)}")
    return value


def _string(value: object, at: str) -> str:
    if not isinstance(value, str):
        raise _Fault(f"{at} must be a string, not {_kind(value)}")
    return value


def _list(value: object, at: str, *, what: str = "a list", optional: bool = False) -> list[Any]:
    if value is None and optional:
        return []
    if not isinstance(value, list):
        raise _Fault(f"{at} must be {what}, not {_kind(value)}")
    if not value and not optional:
        raise _Fault(f"{at} is empty")
    return value


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _quote(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return repr(text if len(text) <= 40 else f"{text[:40]}...")
