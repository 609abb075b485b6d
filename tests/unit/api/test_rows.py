"""Training rows: what is accepted, what is refused and in which words, and that nothing else ever escapes."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.api.types import MethodType
from reconciler.api.types.rows import RowError, RowSummary, check_rows

Json = dict[str, Any]
USER: Json = {"role": "user", "content": "Where is my parcel?"}
ANSWER: Json = {"role": "assistant", "content": "shipping"}
CALL: Json = {"id": "call_1", "type": "function", "function": {"name": "track", "arguments": '{"parcel": 7}'}}
CALLS: Json = {"role": "assistant", "tool_calls": [CALL]}
RESULT: Json = {"role": "tool", "tool_call_id": "call_1", "content": "in transit"}
TOOL: Json = {"type": "function", "function": {"name": "track", "parameters": {"type": "object"}}}
IMAGE: Json = {"type": "image_url", "image_url": {"url": "https://example.com/parcel.png", "detail": "low"}}


def chat(*messages: Json, **more: object) -> Json:
    return {"messages": list(messages), **more}


def preference(asked: list[Json], better: list[Json], worse: list[Json], **more: object) -> Json:
    return {"input": {"messages": asked, **more}, "preferred_output": better, "non_preferred_output": worse}


def lines(*rows: object) -> list[bytes]:
    return [json.dumps(row).encode() + b"\n" for row in rows]


def refusal(method: MethodType, *raw: bytes) -> RowError:
    with pytest.raises(RowError) as caught:
        check_rows(method, raw, minimum=1)
    return caught.value


GOOD: list[tuple[MethodType, Json]] = [
    ("supervised", chat(USER, ANSWER)),
    ("supervised", chat({"role": "system", "content": "Sort the mail."}, USER, ANSWER)),
    ("supervised", chat({"role": "developer", "content": "Sort the mail."}, USER, ANSWER)),
    ("supervised", chat(USER | {"name": "ada"}, ANSWER | {"weight": 0}, USER, ANSWER | {"weight": 1})),
    ("supervised", chat(USER | {"content": [{"type": "text", "text": "What is this?"}, IMAGE]}, ANSWER)),
    (
        "supervised",
        chat(USER | {"content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]}, ANSWER),
    ),
    ("supervised", chat(USER, {"role": "assistant", "content": None, "refusal": "I may not say."})),
    ("supervised", chat(USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]})),
    ("supervised", chat(USER, CALLS, RESULT, ANSWER, tools=[TOOL], parallel_tool_calls=False)),
    ("supervised", chat(USER, CALLS | {"content": None}, tools=[TOOL])),
    (
        "supervised",
        chat(
            USER,
            {"role": "assistant", "function_call": {"name": "track", "arguments": "{}"}},
            {"role": "function", "name": "track", "content": None},
            ANSWER,
            functions=[{"name": "track"}],
        ),
    ),
    ("supervised", {"prompt": "2 + 2 =", "completion": " 4"}),
    ("dpo", preference([USER], [ANSWER], [ANSWER | {"content": "billing"}])),
    ("dpo", preference([USER], [CALLS, RESULT, ANSWER], [ANSWER], tools=[TOOL], parallel_tool_calls=True)),
    ("dpo", preference([USER, CALLS, RESULT], [ANSWER], [ANSWER])),
    ("reinforcement", chat(USER)),
    ("reinforcement", chat(USER, ANSWER, USER, tools=[TOOL], answer="shipping", points=[1, 2.5, None, True])),
]


@pytest.mark.parametrize(("method", "row"), GOOD)
def test_a_row_in_the_shape_of_its_method_is_accepted(method: MethodType, row: Json) -> None:
    assert check_rows(method, lines(*[row] * 10)).rows == 10


BAD: list[tuple[MethodType, object, str]] = [
    ("supervised", [], "must be a JSON object, not a list"),
    ("supervised", None, "must be a JSON object, not null"),
    ("supervised", 7, "must be a JSON object, not a number"),
    ("supervised", {}, "'messages' is missing"),
    ("supervised", {"messages": []}, "messages is empty"),
    ("supervised", {"messages": {}}, "messages must be a list, not an object"),
    ("supervised", chat(), "messages is empty"),
    ("supervised", {"messages": ["hello"]}, "messages[0] must be an object, not a string"),
    ("supervised", chat({"content": "hi"}), "'messages[0].role' is missing"),
    ("supervised", chat({"role": "robot", "content": "hi"}), "messages[0].role must be one of system, developer"),
    ("supervised", chat({"role": ["user"], "content": "hi"}), "messages[0].role must be one of"),
    ("supervised", chat(USER), "the last message must be from the assistant"),
    ("supervised", chat(USER, ANSWER | {"wieght": 1}), "messages[1] has the unknown key 'wieght'; known are audio"),
    ("supervised", chat(USER, ANSWER | {"weight": 0.5}), "messages[1].weight must be 0 or 1, not '0.5'"),
    ("supervised", chat(USER, ANSWER | {"weight": True}), "messages[1].weight must be 0 or 1, not 'true'"),
    ("supervised", chat(USER, ANSWER | {"weight": "1"}), "messages[1].weight must be 0 or 1, not '1'"),
    ("supervised", chat(USER | {"name": 7}, ANSWER), "messages[0].name must be a string, not a number"),
    ("supervised", chat({"role": "user"}, ANSWER), "messages[0] needs 'content': a string or a list of parts"),
    ("supervised", chat(USER, {"role": "assistant", "content": None}), "messages[1] needs 'content'"),
    (
        "supervised",
        chat(USER | {"content": 7}, ANSWER),
        "messages[0].content must be a string or a list of parts, not a",
    ),
    ("supervised", chat(USER | {"content": []}, ANSWER), "messages[0].content is empty"),
    ("supervised", chat(USER | {"content": ["hi"]}, ANSWER), "messages[0].content[0] must be an object"),
    ("supervised", chat(USER | {"content": [{"text": "hi"}]}, ANSWER), "'messages[0].content[0].type' is missing"),
    ("supervised", chat(USER | {"content": [{"type": "video"}]}, ANSWER), "messages[0].content[0].type must be one of"),
    (
        "supervised",
        chat(USER | {"content": [{"type": ["text"]}]}, ANSWER),
        "messages[0].content[0].type must be one of",
    ),
    ("supervised", chat(USER | {"content": [{"type": "text"}]}, ANSWER), "'messages[0].content[0].text' is missing"),
    (
        "supervised",
        chat(USER | {"content": [{"type": "image_url", "image_url": {}}]}, ANSWER),
        "'messages[0].content[0].image_url.url' is missing",
    ),
    ("supervised", chat(USER, ANSWER | {"content": [IMAGE]}), "messages[1].content[0]: only the user may send a part"),
    ("supervised", chat(USER | {"tool_calls": [CALL]}, ANSWER), "messages[0]: only the assistant calls tools"),
    ("supervised", chat(USER, CALLS | {"tool_calls": [{}]}), "'messages[1].tool_calls[0].id' is missing"),
    (
        "supervised",
        chat(USER, CALLS | {"tool_calls": [CALL | {"type": "code"}]}),
        "messages[1].tool_calls[0].type must",
    ),
    (
        "supervised",
        chat(USER, CALLS | {"tool_calls": [CALL | {"function": {"name": "track", "arguments": {}}}]}),
        "messages[1].tool_calls[0].function.arguments must be a string, not an object",
    ),
    ("supervised", chat(USER, {"role": "assistant", "function_call": "track"}), "messages[1].function_call must be an"),
    ("supervised", chat(USER, RESULT, ANSWER), "messages[1].tool_call_id answers no tool call of an earlier assistant"),
    ("supervised", chat(USER, {"role": "tool", "content": "x"}, ANSWER), "'messages[1].tool_call_id' is missing"),
    ("supervised", chat(USER, {"role": "function", "content": "x"}, ANSWER), "messages[1] needs 'name'"),
    ("supervised", chat(USER, ANSWER, tools={}), "tools must be a list, not an object"),
    ("supervised", chat(USER, ANSWER, tools=[{"type": "code"}]), "tools[0].type must be 'function', not 'code'"),
    ("supervised", chat(USER, ANSWER, tools=[{}]), "tools[0].type must be 'function', not 'null'"),
    ("supervised", chat(USER, ANSWER, tools=[{"type": "function"}]), "'tools[0].function' is missing"),
    ("supervised", chat(USER, ANSWER, functions=[{}]), "'functions[0].name' is missing"),
    (
        "supervised",
        chat(USER, ANSWER, functions=[{"name": "f", "parameters": []}]),
        "functions[0].parameters must be an object, not a list",
    ),
    ("supervised", chat(USER, ANSWER, parallel_tool_calls="yes"), "parallel_tool_calls must be true or false"),
    ("supervised", {"prompt": "2 + 2 ="}, "'completion' is missing"),
    ("supervised", {"prompt": "2 + 2 =", "completion": 4}, "completion must be a string, not a number"),
    ("dpo", chat(USER, ANSWER), "'input' is missing"),
    ("dpo", preference([USER], [ANSWER], []), "non_preferred_output is empty"),
    ("dpo", preference([USER], [USER], [ANSWER]), "preferred_output may hold assistant and tool messages only"),
    (
        "dpo",
        preference([USER], [CALLS, RESULT], [ANSWER]),
        "preferred_output may hold assistant and tool messages only",
    ),
    ("dpo", preference([USER, ANSWER], [ANSWER], [ANSWER]), "input.messages must not end with the assistant"),
    ("dpo", {"input": {"messages": [USER]}, "preferred_output": [ANSWER]}, "'non_preferred_output' is missing"),
    ("dpo", {"input": "hi", "preferred_output": [ANSWER]}, "input must be an object, not a string"),
    ("reinforcement", chat(USER, ANSWER), "the last message must be from the user"),
    ("reinforcement", {"answer": "shipping"}, "'messages' is missing"),
]


@pytest.mark.parametrize(("method", "row", "words"), BAD)
def test_a_row_in_another_shape_is_refused_with_its_place(method: MethodType, row: object, words: str) -> None:
    error = refusal(method, *lines(row))
    assert error.message.startswith(words)
    assert (error.code, error.line) == ("invalid_file_format", 1)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\xef\xbb\xbf{}", "starts with a byte-order mark"),
        (b'{"messages": "\xff"}', "is not UTF-8 at byte 15"),
        (b"{", "is not valid JSON: EOF while parsing an object at column 1"),
        (b'{"messages": NaN}', "is not valid JSON: expected value"),
        (b'{"messages": -Infinity}', "is not valid JSON: invalid number"),
        (b'{"messages": "\\ud800"}', "is not valid JSON"),
        (b'{"messages": "a\x00b"}', "is not valid JSON: control character"),
        (b'{"messages": ' + b"1" * 5000 + b"}", "is not valid JSON: number out of range"),
        (b"[" * 100_000 + b"]" * 100_000, "is not valid JSON: recursion limit exceeded"),
        (b'{"messages": [], "messages": []}', "has the key 'messages' twice"),
        (b'{"messages": [{"role": "user", "role": "user"}]}', "has the key 'role' twice"),
    ],
)
def test_a_line_that_is_no_plain_json_is_refused(raw: bytes, words: str) -> None:
    assert refusal("supervised", raw).message.startswith(words)


def test_the_first_bad_row_is_named_by_its_line() -> None:
    assert str(refusal("supervised", *lines(chat(USER, ANSWER)), b"}", b"{")).startswith("line 2: is not valid JSON")


def test_empty_lines_are_allowed_at_the_end_only() -> None:
    row = lines(chat(USER, ANSWER))
    assert check_rows("supervised", [*row, b"\r\n", b""], minimum=1).rows == 1
    assert refusal("supervised", *row, b" \n", b"\n", *row).line == 2


def test_chats_and_completions_are_not_mixed_in_one_file() -> None:
    error = refusal("supervised", *lines(chat(USER, ANSWER), {"prompt": "a", "completion": "b"}))
    assert (error.line, error.message.split(";")[0]) == (2, "mixes chats with prompt/completion rows")


@pytest.mark.parametrize(("rows", "line"), [(0, 1), (1, 1), (9, 9)])
def test_too_few_rows_are_refused_with_both_numbers(rows: int, line: int) -> None:
    with pytest.raises(RowError, match=f"the file ends after {rows} rows, but at least 10 are needed") as caught:
        check_rows("supervised", lines(*[chat(USER, ANSWER)] * rows))
    assert (caught.value.code, caught.value.line) == ("invalid_n_examples", line)


@pytest.mark.parametrize(
    ("method", "row", "tokens"),
    [
        ("supervised", {"prompt": "", "completion": ""}, 0),
        ("supervised", {"prompt": "12345", "completion": "678"}, 2),
        ("supervised", {"prompt": "12345", "completion": "6789"}, 3),
        ("supervised", {"prompt": "äöü", "completion": "日本"}, 3),
        ("reinforcement", chat({"role": "user", "content": "1234"}, answer="not read by the model"), 2),
        ("reinforcement", chat({"role": "user", "content": [IMAGE]}), 4),
        ("reinforcement", chat({"role": "user", "content": [IMAGE]}, tools=[TOOL]), 8),
    ],
)
def test_tokens_are_a_quarter_of_the_bytes_of_the_text_the_model_reads(
    method: MethodType, row: Json, tokens: int
) -> None:
    assert check_rows(method, lines(row, row), minimum=2) == RowSummary(rows=2, tokens=2 * tokens)


def test_a_long_value_is_cut_in_the_message() -> None:
    assert len(refusal("supervised", *lines(chat({"role": "x" * 10_000, "content": ""}))).message) < 200


KEYS = [
    *["messages", "role", "content", "type", "text", "tools", "tool_calls", "id", "function", "name", "arguments"],
    *["input", "preferred_output", "non_preferred_output", "weight", "prompt", "completion"],
]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "user", "assistant", "text", "ä"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=12,
)
raw_lines = st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode())


def verdict(method: MethodType, raw: list[bytes], minimum: int) -> RowSummary | RowError:
    try:
        return check_rows(method, raw, minimum=minimum)
    except RowError as error:
        return error


@settings(deadline=None)
@given(method=st.sampled_from(get_args(MethodType)), raw=st.lists(raw_lines, max_size=4), minimum=st.integers(0, 3))
def test_any_bytes_give_a_summary_or_a_row_error(method: MethodType, raw: list[bytes], minimum: int) -> None:
    match verdict(method, raw, minimum):
        case RowError() as error:
            assert 1 <= error.line <= max(len(raw), 1)
        case summary:
            assert minimum <= summary.rows <= len(raw)


def replace(value: Any, path: list[int], new: object) -> Any:
    """Replace what lies at ``path``, where each step picks a child by number."""
    if not path or not isinstance(value, dict | list) or not value:
        return new
    step, rest = path[0] % len(value), path[1:]
    if isinstance(value, dict):
        key = list(value)[step]
        return {**value, key: replace(value[key], rest, new)}
    return [*value[:step], replace(value[step], rest, new), *value[step + 1 :]]


@settings(deadline=None)
@given(good=st.sampled_from(GOOD), path=st.lists(st.integers(0, 7), max_size=7), new=values)
def test_a_good_row_with_one_part_replaced_gives_a_summary_or_a_row_error(
    good: tuple[MethodType, Json], path: list[int], new: object
) -> None:
    method, row = good
    match verdict(method, lines(replace(row, path, new)), 1):
        case RowError() as error:
            assert (error.code, error.line) == ("invalid_file_format", 1)
        case summary:
            assert summary.rows == 1
