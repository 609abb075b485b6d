"""Chat completions: the part of them that the embedded server answers. What it cannot honour is an unknown field."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from reconciler.api.types.base import Request


def _several(value: object) -> object:
    return [value] if isinstance(value, str) else value


_Stop = Annotated[str, Field(min_length=1)]
_Stops = Annotated[list[_Stop], Field(max_length=4)]
Stops = Annotated[_Stops, BeforeValidator(_several, json_schema_input_type=_Stop | _Stops)]


class TextFormat(Request):
    """An answer may be any text."""

    type: Literal["text"]


class JsonObjectFormat(Request):
    """An answer is some JSON object."""

    type: Literal["json_object"]


class NamedSchema(Request):
    """A JSON schema. Of one that is not ``strict``, a server may pass over what it does not know."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class JsonSchemaFormat(Request):
    """An answer is JSON that keeps to a schema."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]


class StreamOptions(Request):
    """What a stream holds besides the answer."""

    include_usage: bool = False


class ChatMessage(Request):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None


class ChatRequest(Request):
    """The body of ``POST /chat/completions``. ``user`` and ``store`` are taken and not used."""

    model: Annotated[str, Field(min_length=1, max_length=512)]
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=2048)]
    max_completion_tokens: Annotated[int, Field(ge=1, strict=True)] | None = None
    max_tokens: Annotated[int, Field(ge=1, strict=True)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, strict=True)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, strict=True)] | None = None
    stop: Stops | None = None
    seed: Annotated[int, Field(strict=True)] | None = None
    n: Literal[1] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: Annotated[list[dict[str, Any]], Field(max_length=128)] | None = None
    tool_choice: Literal["auto", "none"] | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: Literal["low", "medium", "high"] | None = None
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    logprobs: Literal[False] | None = None
    user: str | None = None
    store: bool | None = None
