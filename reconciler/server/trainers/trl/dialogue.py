"""From the API's messages to the text that a model reads, by its chat template, and back."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Message = Mapping[str, Any]
Place = Callable[[int], str]
"""Names a message by its number, where the words are for a person."""

DEFAULT_TEMPLATE = (
    "{%- set first = messages[0] if messages else {'role': ''} %}"
    "{%- if tools or first.role == 'system' %}{{- '<|im_start|>system\\n' }}"
    "{%- if first.role == 'system' %}{{- first.content }}{%- endif %}"
    "{%- if tools %}{{- '\\nYou may call functions:\\n<tools>' }}"
    "{%- for tool in tools %}{{- '\\n' + (tool | tojson) }}{%- endfor %}"
    '{{- \'\\n</tools>\\nTo call one, answer <tool_call>{"name": NAME, "arguments": {...}}</tool_call>\' }}{%- endif %}'
    "{{- eos_token + '\\n' }}{%- endif %}"
    "{%- for message in messages %}{%- if not (loop.first and message.role == 'system') %}"
    "{{- '<|im_start|>' + message.role + '\\n' + (message.content or '') }}"
    "{%- for call in message.tool_calls or [] %}{{- '<tool_call>' + ({'name': call.function.name, "
    "'arguments': call.function.arguments} | tojson) + '</tool_call>' }}{%- endfor %}"
    "{{- eos_token + '\\n' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
"""For models that bring none: ChatML, each turn ended by the model's own end token, tools as Hermes has them."""

_CALL = re.compile(r"<tool_call>\s*(\{.*?\})\s*</tool_call>", re.DOTALL)


class Unsupported(ValueError):
    """These messages cannot be put before this model; the message says what and why."""


def _in_messages(number: int) -> str:
    return f"messages[{number}]"


class Dialogue:
    """Renders conversations for one model. ``tokenizer`` is transformers'; ``options`` go to its template."""

    def __init__(self, tokenizer: Any, template: str | None, options: Mapping[str, Any]) -> None:  # noqa: ANN401
        self._tokenizer = tokenizer
        self.template: str = template or tokenizer.chat_template or DEFAULT_TEMPLATE
        self._options = options

    def prompt(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = (), place: Place = _in_messages
    ) -> str:
        """Render a conversation up to where the assistant answers.

        Raises:
            Unsupported: the model cannot read it.
        """
        return self._render(plain(messages, place), tools, answer=True)

    def turns(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = (), place: Place = _in_messages
    ) -> tuple[str, list[range]]:
        """Render a whole conversation; say which characters the assistant's messages are, of weight other than 0.

        A message begins after the head of its turn and ends with the mark that ends it.

        Raises:
            Unsupported: the model cannot read it, or its template shows an earlier message differently later on.
        """
        clean = plain(messages, place)
        text = self._render(clean, tools)
        learnt = []
        for number, message in enumerate(messages):
            if message["role"] == "assistant" and message.get("weight") != 0:
                learnt.append(self._span(text, clean[: number + 1], tools, place(number)))
        return text, learnt

    def _span(self, text: str, clean: list[dict[str, Any]], tools: Sequence[Mapping[str, Any]], at: str) -> range:
        """Return where the last of some messages stands in the text of all.

        Raises:
            Unsupported: it is shown differently there, or never as the model would begin it.
        """
        before = self._render(clean[:-1], tools, answer=True) if len(clean) > 1 else ""
        whole = self._render(clean, tools)
        if not whole.startswith(before):
            raise Unsupported(
                f"{at}: the model's chat template begins an answer otherwise than it shows one, maybe by a thought, "
                "so none can be learnt by it; name another as chat_template in the server's catalogue"
            )
        if not text.startswith(whole):
            raise Unsupported(
                f"{at}: the model's chat template shows this message differently once others follow; give it weight "
                "0, or train one answer a row"
            )
        return range(len(before), len(whole.rstrip()))

    def _render(self, clean: list[dict[str, Any]], tools: Sequence[Mapping[str, Any]], *, answer: bool = False) -> str:
        if tools and "tools" not in self.template:
            raise Unsupported("has tools, which the model's chat template does not show")
        if "tool_calls" not in self.template and any("tool_calls" in message for message in clean):
            raise Unsupported("calls tools, which the model's chat template does not show")
        try:
            text: str = self._tokenizer.apply_chat_template(
                clean,
                tools=list(tools) or None,
                chat_template=self.template,
                add_generation_prompt=answer,
                tokenize=False,
                **self._options,
            )
        except Exception as error:  # a template is a program, and raises what it likes
            raise Unsupported(f"the model's chat template does not take these messages: {error}") from error
        return text


def tools_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tools of a row; the old ``functions`` are tools, too."""
    old = [{"type": "function", "function": function} for function in row.get("functions") or ()]
    return [*(row.get("tools") or ()), *old]


def plain(messages: Sequence[Message], place: Place = _in_messages) -> list[dict[str, Any]]:
    """Put messages as chat templates read them.

    Raises:
        Unsupported: a part is no text, or has not the API's form.
    """
    found = []
    for number, message in enumerate(messages):
        try:
            found.append(_plain(message, place(number)))
        except (KeyError, TypeError, AttributeError) as error:
            raise Unsupported(f"{place(number)} has not the form that the API gives it") from error
    return found


def _plain(message: Message, at: str) -> dict[str, Any]:
    role = {"developer": "system", "function": "tool"}.get(message["role"], message["role"])
    content = message.get("content")
    found: dict[str, Any] = {"role": role, "content": _text(content or message.get("refusal"), at)}
    found |= {key: message[key] for key in ("name", "tool_call_id") if message.get(key)}
    calls = list(message.get("tool_calls") or ())
    if old := message.get("function_call"):
        calls.append({"id": "call_0", "type": "function", "function": old})
    if calls:
        found["tool_calls"] = [_call(call) for call in calls]
    return found


def _text(content: object, at: str) -> str:
    if not isinstance(content, list):
        return str(content or "")
    if odd := [part["type"] for part in content if part["type"] not in {"text", "refusal"}]:
        raise Unsupported(f"{at} holds a part of type {odd[0]}; models here read text alone")
    return "".join(part[part["type"]] for part in content)


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    """Templates want arguments as an object; the API has them as JSON text."""
    function = dict(call["function"])
    with contextlib.suppress(ValueError, TypeError):
        function["arguments"] = json.loads(function["arguments"])
    return {"id": call.get("id"), "type": "function", "function": function}


def calls_in(text: str) -> tuple[str, list[dict[str, Any]]]:
    """Split an answer into its text and its tool calls, in the API's form. What is no call stays text."""
    calls: list[dict[str, Any]] = []

    def take(match: re.Match[str]) -> str:
        try:
            said = json.loads(match[1])
            function = {"name": str(said["name"]), "arguments": json.dumps(said.get("arguments", {}))}
        except (ValueError, KeyError, TypeError):
            return match[0]
        calls.append({"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function})
        return ""

    return _CALL.sub(take, text).strip() if "<tool_call>" in text else text, calls
