"""From messages to what a model reads and learns, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from reconciler.server.trainers.trl.dialogue import (
    DEFAULT_TEMPLATE,
    Dialogue,
    Unsupported,
    calls_in,
    plain,
    tools_of,
)
from reconciler.server.trainers.trl.rows import IGNORED, Reader, read

TOOL = {"type": "function", "function": {"name": "add", "parameters": {}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}


class Words:
    """A tokenizer of single characters, with a template that shows role, content and calls."""

    chat_template = "tools and tool_calls are shown"
    eos_token = "$"
    bos_token = None

    def apply_chat_template(
        self, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool, tools: Any, **_: Any
    ) -> str:
        shown = f"{[tool['function']['name'] for tool in tools]}" if tools else ""
        for message in messages:
            calls = "".join(str(call["function"]["arguments"]) for call in message.get("tool_calls", ()))
            shown += f"<{message['role']}>{message['content']}{calls}$\n"
        return shown + ("<assistant>" if add_generation_prompt else "")

    def __call__(self, text: str, **_: Any) -> dict[str, Any]:
        return {"input_ids": [ord(c) for c in text], "offset_mapping": [(n, n + 1) for n in range(len(text))]}


class Forgetful(Words):
    """Shows what the assistant said earlier differently, as templates do that drop earlier thoughts."""

    def apply_chat_template(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> str:
        last = max(n for n, message in enumerate(messages) if message["role"] == "user")
        kept = [{**m, "content": m["content"] if n >= last else m["content"][:1]} for n, m in enumerate(messages)]
        return super().apply_chat_template(kept, **options)


def reader(tokenizer: Words | None = None, context: int = 200) -> Reader:
    tokenizer = tokenizer or Words()
    return Reader(tokenizer, Dialogue(tokenizer, None, {}), context, answer=10)


def learnt(row: dict[str, Any], context: int = 200) -> list[str]:
    """The runs of text that a row teaches."""
    read = reader(context=context).supervised(row)
    text = "".join(chr(label) if label != IGNORED else "\0" for label in read["labels"])
    return re.findall("[^\0]+", text)


def said(*words: str, **more: Any) -> dict[str, Any]:
    """A conversation, the user first, each in turn."""
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[n % 2], "content": text, **more} for n, text in enumerate(words)]}


def test_what_the_assistant_says_is_learnt_with_its_end() -> None:
    assert learnt(said("ask", "one", "more", "two")) == ["one$", "two$"]


def test_a_message_of_weight_0_is_read_and_not_learnt() -> None:
    row = said("ask", "one", "more", "two")
    row["messages"][1]["weight"] = 0
    assert learnt(row) == ["two$"]


def test_a_call_is_learnt() -> None:
    row: dict[str, Any] = {"messages": [*said("ask")["messages"], {"role": "assistant", "tool_calls": [CALL]}]}
    assert learnt(row | {"tools": [TOOL]}) == ["{'a': 1}$"]


def test_of_a_completion_the_prompt_is_not_learnt() -> None:
    assert learnt({"prompt": "ask", "completion": "one"}) == ["one$"]


def test_a_long_row_loses_its_end_and_is_counted() -> None:
    short = reader(context=26)
    ids = short.supervised(said("ask", "a long answer"))["input_ids"]
    assert (len(ids), short.cut) == (26, 1)


def test_a_file_is_held_in_four_bytes_a_token(tmp_path: Path) -> None:
    """Lists of numbers take ten times as much: a large file would not fit beside the model."""
    file = tmp_path / "train.jsonl"
    file.write_text(json.dumps(said("hello", "yes")))
    (row,) = read(file, "training_file", reader().supervised)
    assert {name: (held.itemsize, held.tolist()) for name, held in row.items()} == {
        name: (4, numbers) for name, numbers in reader().supervised(said("hello", "yes")).items()
    }


@pytest.mark.parametrize("words", [("a question that fills the whole of it", "one"), ("ask", "")])
def test_a_row_that_teaches_nothing_is_refused(words: tuple[str, str]) -> None:
    row = said(*words)
    if not words[1]:
        row["messages"][1]["weight"] = 0
    with pytest.raises(Unsupported, match="nothing to learn"):
        reader(context=20).supervised(row)


def test_a_template_that_changes_what_was_said_is_refused_unless_that_is_not_learnt() -> None:
    row = said("ask", "one", "more", "two")
    with pytest.raises(Unsupported, match=r"messages\[1\].*weight 0"):
        reader(Forgetful()).supervised(row)
    row["messages"][1]["weight"] = 0
    reader(Forgetful()).supervised(row)


def test_a_template_that_begins_answers_with_a_thought_and_shows_none_is_named() -> None:
    class Thinking(Words):
        def apply_chat_template(self, messages: Any, *, add_generation_prompt: bool, **options: Any) -> str:
            shown = super().apply_chat_template(messages, add_generation_prompt=add_generation_prompt, **options)
            return f"{shown}<think>" if add_generation_prompt else shown

    with pytest.raises(Unsupported, match=r"messages\[1\].*begins an answer.*chat_template"):
        reader(Thinking()).supervised(said("ask", "one"))


def test_a_preference_is_a_prompt_and_two_answers() -> None:
    row: dict[str, Any] = {"input": said("ask"), "preferred_output": [{"role": "assistant", "content": "one"}],
           "non_preferred_output": [{"role": "assistant", "content": "two"}]}  # fmt: skip
    read = reader().dpo(row)
    assert ["".join(map(chr, read[key])) for key in ("prompt_ids", "chosen_ids", "rejected_ids")] == [
        "<user>ask$\n<assistant>", "one$", "two$",
    ]  # fmt: skip
    assert read["chosen_mask"] == read["rejected_mask"] == [1] * 4


def preference(*preferred: dict[str, Any], **other: Any) -> dict[str, Any]:
    return {
        "input": said("ask"),
        "preferred_output": list(preferred),
        "non_preferred_output": [{"role": "assistant", "content": "no"}],
        **other,
    }


ANSWERED = {"role": "tool", "tool_call_id": "c1", "content": "3"}
CALLED = {"role": "assistant", "tool_calls": [CALL]}
LAST = {"role": "assistant", "content": "It is 3."}


def test_of_several_messages_what_the_assistant_says_is_compared_and_what_tools_answer_is_read() -> None:
    read = reader().dpo(preference(CALLED, ANSWERED, LAST))
    assert "".join(map(chr, read["chosen_ids"])) == "{'a': 1}$\n<tool>3$\n<assistant>It is 3.$"
    said = "".join(chr(c) if on else "\0" for c, on in zip(read["chosen_ids"], read["chosen_mask"], strict=True))
    assert re.findall("[^\0]+", said) == ["{'a': 1}$", "It is 3.$"]
    assert (len(read["rejected_ids"]), read["rejected_mask"]) == (3, [1] * 3)
    first = reader().dpo(preference(CALLED, ANSWERED, {**LAST, "weight": 0}))
    assert "".join(map(chr, first["chosen_ids"])) == "{'a': 1}$", "weight 0 leaves a message out"


def test_long_outputs_lose_their_end_with_its_mask() -> None:
    short = reader(context=50)
    read = short.dpo(preference(CALLED, ANSWERED, LAST))
    assert len(read["prompt_ids"]) + len(read["chosen_ids"]) == 50
    assert (len(read["chosen_mask"]), short.cut) == (len(read["chosen_ids"]), 1)


@pytest.mark.parametrize(
    ("row", "tokenizer", "words"),
    [
        (preference({**LAST, "weight": 0}), Words(), "nothing to learn of preferred_output"),
        (preference(CALLED, ANSWERED, LAST, input=said("a question that fills all")), Words(), "to learn of preferred"),
        (preference(ANSWERED, LAST), Words(), r"preferred_output\[0\] must be what the assistant says next"),
        (preference(LAST, {"role": "user", "content": "?"}, LAST), Forgetful(), r"preferred_output\[0\]: the model's"),
        (preference({"role": "assistant", "tool_calls": ["x"]}), Words(), r"preferred_output\[0\] has not the form"),
        (preference(LAST, input={"messages": [{"role": "user", "content": [{"type": "file"}]}]}), Words(),
         r"input.messages\[0\] holds a part of type file"),
    ],
)  # fmt: skip
def test_a_preference_that_cannot_be_compared_is_refused_by_its_place(
    row: dict[str, Any], tokenizer: Words, words: str
) -> None:
    with pytest.raises(Unsupported, match=words):
        reader(tokenizer, context=40).dpo(row)


def test_a_prompt_must_leave_room_for_an_answer() -> None:
    assert reader(context=33).reinforcement(said("ask"))["prompt"] == "<user>ask$\n<assistant>"
    with pytest.raises(Unsupported, match="no room for an answer of 10"):
        reader(context=31).reinforcement(said("ask"))


def test_what_a_template_does_not_show_is_refused() -> None:
    dialogue = Dialogue(Words(), "neither", {})
    with pytest.raises(Unsupported, match="has tools"):
        dialogue.prompt(said("ask")["messages"], [TOOL])
    with pytest.raises(Unsupported, match="calls tools"):
        dialogue.prompt([{"role": "assistant", "tool_calls": [CALL]}])


def test_the_apis_older_forms_are_read() -> None:
    function = {"name": "add", "arguments": "no json"}
    messages: list[dict[str, Any]] = [
        {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": None, "function_call": function},
        {"role": "function", "name": "add", "content": "3"},
        {"role": "assistant", "content": None, "refusal": "No."},
    ]
    system, call, tool, refusal = plain(messages)
    assert system == {"role": "system", "content": "ab"}
    assert call["tool_calls"][0]["function"] == function
    assert tool == {"role": "tool", "content": "3", "name": "add"}
    assert refusal["content"] == "No."
    assert tools_of({"functions": [{"name": "add"}]}) == [{"type": "function", "function": {"name": "add"}}]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
        {"role": "user", "content": [{"text": "no type"}]},
        {"role": "assistant", "tool_calls": [{}]},
        {"role": "assistant", "tool_calls": ["x"]},
    ],
)
def test_what_is_no_text_is_refused_by_its_place(message: dict[str, Any]) -> None:
    with pytest.raises(Unsupported, match=r"messages\[1\]"):
        plain([{"role": "user", "content": "ask"}, message])


def test_calls_are_found_in_an_answer_and_what_is_none_stays() -> None:
    text, (call,) = calls_in('Well. <tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>')
    assert (text, call["function"]) == ("Well.", {"name": "add", "arguments": '{"a": 1}'})
    for odd in ("<tool_call>{no}</tool_call>", "<tool_call>[]</tool_call>", '<tool_call>{"a": 1}</tool_call>', "x"):
        assert calls_in(odd) == (odd, [])


@pytest.mark.slow  # the slow tests are those that have the engine, in CI
@pytest.mark.skipif(find_spec("jinja2") is None, reason="needs the real engine: pip install -e '.[train]'")
def test_the_template_of_models_without_one() -> None:
    import jinja2  # noqa: PLC0415

    environment = jinja2.Environment(autoescape=False)
    environment.filters["tojson"] = json.dumps  # as transformers has it
    template = environment.from_string(DEFAULT_TEMPLATE)

    def render(messages: Sequence[Any], **more: Any) -> str:
        return str(template.render(messages=plain(messages), eos_token="$", **more))

    system = {"role": "system", "content": "Be brief."}
    assert render([system, *said("ask", "one")["messages"]]) == (
        "<|im_start|>system\nBe brief.$\n<|im_start|>user\nask$\n<|im_start|>assistant\none$\n"
    )
    assert render(said("ask")["messages"], add_generation_prompt=True).endswith("$\n<|im_start|>assistant\n")
    shown = render([system, *said("ask")["messages"], {"role": "assistant", "tool_calls": [CALL]}], tools=[TOOL])
    assert shown.startswith("<|im_start|>system\nBe brief.\nYou may call functions:\n<tools>\n{")
    assert calls_in(shown.rsplit("assistant\n", 1)[1].removesuffix("$\n"))[1][0]["function"] == CALL["function"]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("trl") is None, reason="needs the real engine: pip install -e '.[train]'")
def test_what_is_read_only_is_no_part_of_the_comparison() -> None:
    from reconciler.server.trainers.trl.methods import _Outputs  # noqa: PLC0415

    rows = [
        {
            "prompt_ids": [1],
            "chosen_ids": [2, 3, 4],
            "chosen_mask": [1, 0, 1],
            "rejected_ids": [5],
            "rejected_mask": [1],
        },
        {"prompt_ids": [1, 6], "chosen_ids": [7], "chosen_mask": [1], "rejected_ids": [8, 9], "rejected_mask": [0, 1]},
    ]
    batch = _Outputs(pad_token_id=0)(rows)
    assert batch["completion_mask"].tolist() == [[0, 1, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    assert batch["completion_mask"].shape == batch["input_ids"].shape
