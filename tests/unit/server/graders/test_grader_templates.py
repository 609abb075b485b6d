"""Templates: every variable becomes what it stands for, or the case is flagged."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.types.graders import check_template
from reconciler.server.graders.case import Case, GraderFault
from reconciler.server.graders.templates import render

ITEM = {"word": "sum", "deep": {"list": [{"a": 1}, "two"], "none": None}, "0": "zero", "flag": True, "x-y": 1.5}
TOOLS = [{"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}]
CASE = Case('{"answer": {"n": 7, "tags": ["ä", "b"]}}', ITEM, TOOLS)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ("{{item.word}}", "sum"),
        ("a {{ item.word }} b {{item.word}}", "a sum b sum"),
        ("{{item.deep.list[0].a}}", "1"),
        ("{{item.deep.list.1}}", "two"),
        ("{{item.deep.list}}", '[{"a": 1}, "two"]'),
        ("{{item.deep.none}}", "null"),
        ("{{item.flag}}", "true"),
        ("{{item.x-y}}", "1.5"),
        ("{{sample.output_text}}", '{"answer": {"n": 7, "tags": ["ä", "b"]}}'),
        ("{{sample.output_json.answer.n}}", "7"),
        ("{{sample.output_json.answer.tags[0]}}", "ä"),
        ("{{sample.output_json}}", '{"answer": {"n": 7, "tags": ["ä", "b"]}}'),
        ("{{sample.output_tools[0].function.name}}", "add"),
        ("{{sample.output_tools[0].function.arguments}}", '{"a": 1}'),
        ("{{sample.choices[0].message.role}}", "assistant"),
        ("{{sample.choices[0].finish_reason}}", "tool_calls"),
    ],
)
def test_a_variable_becomes_what_it_stands_for(template: str, text: str) -> None:
    assert render(check_template(template), CASE) == text


@pytest.mark.parametrize(
    ("template", "case", "flag"),
    [
        ("{{item.other}}", CASE, "invalid_variable_error"),
        ("{{item.word.letters}}", CASE, "invalid_variable_error"),
        ("{{item.deep.list[2]}}", CASE, "invalid_variable_error"),
        ("{{item.deep.list[99999999999999999999]}}", CASE, "invalid_variable_error"),
        ("{{sample.output_json.other}}", CASE, "invalid_variable_error"),
        ("{{sample.output_tools[1]}}", CASE, "invalid_variable_error"),
        ("{{sample.output_json.answer}}", Case("not JSON"), "sample_parse_error"),
        ("{{sample.output_json}}", Case("NaN"), "sample_parse_error"),
        ("{{sample.output_json}}", Case("[" * 100_000), "sample_parse_error"),
        ("{{sample.output_json}}", Case("9" * 10_000), "sample_parse_error"),
        ("{{sample.output_tools[0]}}", Case("no tools"), "invalid_variable_error"),
        ("{{elsewhere.word}}", CASE, "invalid_variable_error"),
        ("{{sample}}", CASE, "invalid_variable_error"),
    ],
)
def test_what_is_missing_is_flagged(template: str, case: Case, flag: str) -> None:
    with pytest.raises(GraderFault) as fault:
        render(template, case)
    assert fault.value.flag == flag
    assert fault.value.details


def test_the_details_of_a_fault_are_short_and_name_the_variable() -> None:
    with pytest.raises(GraderFault) as fault:
        render("{{item." + "a" * 5000 + "}}", CASE)
    assert len(fault.value.details) < 1100
    assert "item.aaa" in fault.value.details


@pytest.mark.parametrize("braces", ["{{", "}}", "{", "{{{", "{{item.a}}{{"])
def test_a_template_of_braces_alone_is_read_in_no_time(braces: str) -> None:
    started = time.process_time()
    with contextlib.suppress(ValueError):
        check_template(braces * 500_000)
    assert time.process_time() - started < 5


def test_a_template_that_would_fill_the_memory_is_flagged() -> None:
    with pytest.raises(GraderFault, match="characters") as fault:
        render("{{item.long}}" * 100_000, Case("", {"long": "x" * 1_000_000}))
    assert fault.value.flag == "other_error"


def test_an_answer_is_parsed_once_however_often_it_is_named() -> None:
    case = Case("[" * 900 + "1, " * 100_000)
    started = time.process_time()
    assert render("{{sample.choices[0].index}}" * 30_000, case) == "0" * 30_000
    assert time.process_time() - started < 5


def test_an_answer_that_holds_a_template_stays_as_it_is() -> None:
    case = Case("{{item.word}}", {"word": "{{sample.output_text}}"})
    assert render("{{sample.output_text}} {{item.word}}", case) == "{{item.word}} {{sample.output_text}}"


@given(st.text())
def test_any_answer_is_filled_in_unchanged(text: str) -> None:
    assert render("<{{sample.output_text}}>", Case(text)) == f"<{text}>"


@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False), st.lists, max_leaves=5
)))  # fmt: skip
def test_what_is_no_text_is_filled_in_as_json(item: dict[str, object]) -> None:
    for name, value in item.items():
        assert json.loads(render(f"{{{{item.{name}}}}}", Case("", item))) == value


@given(st.text(alphabet="{}. []itemsamplou_jn0", max_size=60))
def test_a_template_that_is_taken_is_rendered_or_flagged(template: str) -> None:
    try:
        check_template(template)
    except ValueError:
        return
    with contextlib.suppress(GraderFault):
        assert isinstance(render(template, CASE), str)
