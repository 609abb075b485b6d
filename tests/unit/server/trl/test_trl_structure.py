"""What answers are held to: the API's formats as grammars, and a model's tokens kept to these."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tiny import needs_engine, needs_grammars, tiny_model

from reconciler.errors import MissingExtra
from reconciler.server.trainers.trl.grammar import BadFormat, held_by

TOOL = {"type": "function", "function": {"name": "add", "parameters": {}}}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["fox", "dog"]},
        "sure": {"type": "boolean"},
        "words": {"type": "array", "items": {"type": "string", "maxLength": 4}, "maxItems": 2},
    },
    "required": ["kind", "sure", "words"],
    "additionalProperties": False,
}


def form(schema: Any, **more: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, **more}}


@pytest.mark.parametrize("given", [None, {}, {"type": "text"}])
def test_text_is_held_to_nothing(given: Any) -> None:
    assert held_by(given) is None


def test_without_the_library_the_command_that_installs_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtra) as caught:
        held_by({"type": "json_object"})
    assert "pip install 'finetune-reconciler[train]'" in caught.value.hint


@pytest.mark.slow  # the slow tests are those that have the engine, in CI
@needs_grammars
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"type": "xml"}, "type must be one of text, json_object, json_schema, not 'xml'"),
        ({"type": "json_schema"}, "json_schema must be an object"),
        ({"type": "json_schema", "json_schema": {"schema": []}}, "json_schema.schema must be an object"),
        (form({"type": "strin"}), "json_schema.schema: Invalid type: strin"),
        (form({"type": "string", "pattern": "("}), "json_schema.schema: regex parse error: ( ^ error: unclosed group"),
        (form({"$ref": "https://example.com/x.json"}), "is not present in a registry"),
        (form({"type": "array", "uniqueItems": True}, strict=True), 'Unimplemented keys: ["uniqueItems"]'),
        (form({"type": "string", "pattern": "\ud800"}), "hex escape"),
    ],
)
def test_what_no_answer_can_be_held_to_is_refused_in_the_librarys_words(given: Any, words: str) -> None:
    with pytest.raises(BadFormat) as caught:
        held_by(given)
    assert words in str(caught.value)


@pytest.mark.slow
@needs_grammars
def test_of_a_schema_that_is_not_strict_what_is_not_known_is_passed_over() -> None:
    held = held_by(form({"type": "array", "uniqueItems": True, "x-guidance": {"lenient": False}}))
    assert held is not None
    assert held.passed_over == ['Unimplemented keys: ["uniqueItems"]']


@pytest.mark.slow
@needs_grammars
def test_all_that_the_apis_strict_schemas_may_say_is_held() -> None:
    formats = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")
    node = {
        "type": "object",
        "properties": {
            "text": {"type": "string", "pattern": "^@[a-z]+$", "description": "d", "title": "t"},
            "number": {"type": ["number", "null"], "multipleOf": 0.5, "minimum": 0, "exclusiveMaximum": 9},
            "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            "all": {"type": "array", "items": {"$ref": "#"}, "minItems": 1, "maxItems": 2},
            "one": {"const": 1},
            **{name: {"type": "string", "format": name} for name in formats},
        },
        "required": ["text"],
        "additionalProperties": False,
    }
    held = held_by(form({**node, "$defs": {"node": node}}, strict=True))
    assert held is not None
    assert not held.passed_over


@pytest.fixture
def tiny(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tiny_model(tmp_path_factory)


@pytest.mark.slow
@needs_grammars
@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ('{"a":1}', True),
        (json.dumps({"a": 1}, indent=2), True),
        ('{  "a":1}', False),  # no blanks without end
        ('<tool_call>{"name":"add","arguments":{}}</tool_call>', True),
        ('<tool_call>\n{"name": "add", "arguments": {"b": [1]}}\n</tool_call>\n' * 2, True),
        ('<tool_call>{"name":"take","arguments":{}}</tool_call>', False),
        ("{}<tool_call>", False),
        ("Hello", False),
    ],
)
def test_an_answer_is_what_the_schema_says_or_calls_the_tools_there_are(tiny: Path, text: str, fits: bool) -> None:
    from llguidance import LLMatcher, LLTokenizer  # noqa: PLC0415

    held = held_by({"type": "json_object"})
    assert held is not None
    tokens = LLTokenizer(str(tiny / "tokenizer.json"))
    matcher = LLMatcher(tokens, held.grammar([TOOL, {"type": "function"}]), log_level=0)
    read = tokens.tokenize_str(text.strip())
    assert (matcher.try_consume_tokens(read) == len(read) and matcher.is_accepting()) is fits


MOST = 70


def sampled(place: Path, grammars: list[str]) -> tuple[list[str], list[int]]:
    """Let the tiny model answer prompts of several lengths at once, each held to a grammar of its own.

    Return the answers, and how many tokens each has.
    """
    import torch  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed  # noqa: PLC0415

    from reconciler.server.trainers.trl.structure import Holder  # noqa: PLC0415

    torch.set_num_threads(1)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(place), AutoTokenizer.from_pretrained(place)
    model.resize_token_embeddings(len(tokenizer) + 60, mean_resizing=False)  # as real ones, wider than the tokenizer
    prompts = ["the quick brown fox"[: 4 + row % 16] for row in range(len(grammars))]
    read = tokenizer(prompts, padding=True, padding_side="left", return_tensors="pt")
    set_seed(5)
    end = tokenizer.eos_token_id
    with Holder(tokenizer, {end}, "x").holding(model, grammars):
        made = model.generate(**read, do_sample=True, max_new_tokens=MOST, top_k=0, top_p=0.95)
    assert "generate" not in vars(model), "what is sampled later is free again"
    ids = made[:, read["input_ids"].shape[1] :]
    lengths = [row.index(end) if end in row else MOST for row in ids.tolist()]
    return tokenizer.batch_decode(ids, skip_special_tokens=True), lengths


@pytest.mark.slow
@needs_engine
@needs_grammars
def test_every_row_is_held_to_its_own_grammar_until_it_ends(tiny: Path) -> None:
    held, loose = held_by(form(SCHEMA, strict=True)), held_by({"type": "json_object"})
    assert held is not None
    assert loose is not None
    texts, lengths = sampled(tiny, [held.grammar(), held.grammar(), loose.grammar(), held.grammar([TOOL])] * 8)
    whole = [row for row in range(32) if lengths[row] < MOST]
    for row in whole:
        if row % 4 < 3:
            jsonschema.validate(json.loads(texts[row]), {"type": "object"} if row % 4 == 2 else SCHEMA)
    assert all(text.startswith("{") or (row % 4 == 3 and text[0] == "<") for row, text in enumerate(texts))
    assert len(whole) > 16, "what is cut is the exception"
    assert len({lengths[row] for row in whole}) > 4, "rows end at different times"
