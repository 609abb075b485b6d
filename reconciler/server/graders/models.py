"""Model graders: another model, on any server of chat completions, gives a score or picks a label."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from reconciler.api.proxies import UNUSABLE, unusable
from reconciler.api.types import GraderMessage, LabelModelGrader, ScoreModelGrader
from reconciler.server.graders.case import Case, GraderFault, Usage, clean
from reconciler.server.graders.settings import GraderSettings
from reconciler.server.graders.templates import render

ModelGrader = ScoreModelGrader | LabelModelGrader

_ANSWER_BYTES = 1024 * 1024
_AGAIN = frozenset({429, 500, 502, 503, 504})
_ATTEMPTS = 3
_PROMPT, _PARTS = 4_000_000, 100
_LONGEST_WAIT = 10.0


def ask_model(
    grader: ModelGrader, case: Case, settings: GraderSettings, sleep: Callable[[float], None]
) -> tuple[float, Usage]:
    """Let a model grade; return the reward, and the tokens that it took.

    The answer is asked for as JSON by a schema. A server that refuses schemas is asked without; then the answer may
    also be the bare score or label.

    Raises:
        GraderFault: the server or the model refused, or the answer is no score in range, no label.
    """
    body = _body(grader, case)
    status, answer = _post(body, settings, sleep)
    if status in {400, 422}:
        status, answer = _post({k: v for k, v in body.items() if k != "response_format"}, settings, sleep)
    if status != 200:
        raise _server(f"HTTP {status}: {_message(answer)}", settings)
    text, usage = _read(answer, grader.model)
    if isinstance(grader, LabelModelGrader):
        return _label(grader, text), usage
    return _score(grader, text), usage


def _body(grader: ModelGrader, case: Case) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": grader.model,
        "messages": _messages(grader, case),
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "grade", "strict": True, "schema": _schema(grader)},
        },
    }
    if isinstance(grader, ScoreModelGrader) and grader.sampling_params is not None:
        given = grader.sampling_params.model_dump(exclude_none=True)
        if (most := given.pop("max_completions_tokens", None)) is not None:
            given["max_completion_tokens"] = most
        body |= given
    return body


def _messages(grader: ModelGrader, case: Case) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    left = _PROMPT
    for each in grader.input:
        content = _content(each, case)
        left -= len(content) if isinstance(content, str) else len(json.dumps(content))
        if left < 0:
            raise GraderFault("other_error", f"The prompt, filled in, has more than {_PROMPT} characters.")
        found.append({"role": each.role, "content": content})
    return found


def _schema(grader: ModelGrader) -> dict[str, Any]:
    step = {"description": {"type": "string"}, "conclusion": {"type": "string"}}
    result = {"type": "number"} if isinstance(grader, ScoreModelGrader) else {"type": "string", "enum": grader.labels}
    return _object({"steps": {"type": "array", "items": _object(step)}, "result": result})


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def _content(message: GraderMessage, case: Case) -> str | list[dict[str, Any]]:
    """Fill in a message. Text alone is sent as text, which every server takes."""
    given = message.content if isinstance(message.content, list) else [message.content]
    if len(given) > _PARTS:
        raise GraderFault("other_error", f"A message has {len(given)} parts; {_PARTS} can be sent.")
    found = [_part({"type": "input_text", "text": p} if isinstance(p, str) else p.model_dump(), case) for p in given]
    if all(part["type"] == "text" for part in found):
        return "\n".join(part["text"] for part in found)
    return found


def _part(part: Mapping[str, Any], case: Case) -> dict[str, Any]:
    match part["type"]:
        case "input_image":
            image = {"url": render(part["image_url"], case)}
            return {"type": "image_url", "image_url": image | ({"detail": part["detail"]} if part["detail"] else {})}
        case "input_audio":
            return {"type": "input_audio", "input_audio": part["input_audio"]}
    return {"type": "text", "text": render(part["text"], case)}


def _post(body: Mapping[str, Any], settings: GraderSettings, sleep: Callable[[float], None]) -> tuple[int, Any]:
    """Ask, again where that may help; return the status and what was answered, read as JSON where it is."""
    url = f"{(settings.model_url or '').rstrip('/')}/chat/completions"
    with _client(settings) as client:
        for attempt in range(_ATTEMPTS):
            wait = 2.0**attempt
            try:
                status, content, asked = _exchange(client, url, body)
                if status not in _AGAIN or attempt == _ATTEMPTS - 1:
                    return status, _parsed(content)
                wait = wait if asked is None else asked
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                if attempt == _ATTEMPTS - 1:
                    raise _server(f"{type(error).__name__}: {error}", settings) from error
            sleep(min(wait, _LONGEST_WAIT))
    raise AssertionError("every last attempt ends")


def _client(settings: GraderSettings) -> httpx.Client:
    headers = {"Authorization": f"Bearer {settings.model_key}"} if settings.model_key else {}
    try:
        return httpx.Client(timeout=settings.model_seconds, headers=headers)
    except UNUSABLE as error:
        fault = unusable(error)
        raise _server(f"{fault.message} {fault.hint}", settings) from None


def _parsed(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content.decode(errors="replace")


def _exchange(client: httpx.Client, url: str, body: Mapping[str, Any]) -> tuple[int, bytes, float | None]:
    with client.stream("POST", url, json=body) as response:
        content = bytearray()
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > _ANSWER_BYTES:
                raise httpx.DecodingError(f"the answer is longer than {_ANSWER_BYTES} bytes")
        asked = response.headers.get("retry-after", "")
        return response.status_code, bytes(content), float(asked) if asked.isdecimal() else None


def _server(words: str, settings: GraderSettings) -> GraderFault:
    if settings.model_key:
        words = words.replace(settings.model_key, "[key]")
    return GraderFault("model_grader_server_error", f"The model grader's server: {words}")


def _message(answer: object) -> str:
    match answer:
        case {"error": {"message": str(message)}} | {"error": str(message)} | {"detail": str(message)}:
            return message
    return str(answer)[:200]


def _read(answer: object, model: str) -> tuple[str, Usage]:
    match answer:
        case {"choices": [{"message": {"refusal": str(words)}}, *_]} if words:
            raise GraderFault("model_grader_refusal_error", f"The model refused: {words}")
        case {"choices": [{"message": {"content": str(text)}}, *_]}:
            return text, _usage(answer, model)
    raise GraderFault("model_grader_parse_error", "The model grader's server answered, but not with a message.")


def _usage(answer: object, model: str) -> Usage:
    known = answer if isinstance(answer, dict) else {}
    name, given = known.get("model"), known.get("usage")
    used = given if isinstance(given, dict) else {}
    details = used.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    prompt, completion, of_cache = map(_count, (used.get("prompt_tokens"), used.get("completion_tokens"), cached))
    return Usage(clean(name) if isinstance(name, str) and name else model, prompt, completion, of_cache)


def _count(value: object) -> int:
    return value if type(value) is int and value >= 0 else 0


def _result(text: str) -> object:
    """Find the result: of the JSON that was asked for, also in a fence, or what stands alone."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text.strip("`").removeprefix("json").strip()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value.get("result") if isinstance(value, dict) else value


def _score(grader: ScoreModelGrader, text: str) -> float:
    lowest, highest = grader.range or (0.0, 1.0)
    result = _result(text)
    try:
        score = math.nan if isinstance(result, bool) or not isinstance(result, int | float | str) else float(result)
    except (ValueError, OverflowError):
        score = math.nan
    if not math.isfinite(score):
        raise GraderFault("model_grader_parse_error", f"The model gave no score: {text[:200]!r}")
    if not lowest <= score <= highest:
        raise GraderFault("model_grader_parse_error", f"The score {score:g} is not in [{lowest:g}, {highest:g}].")
    return score


def _label(grader: LabelModelGrader, text: str) -> float:
    result = _result(text)
    if result not in grader.labels:
        raise GraderFault("model_grader_parse_error", f"The model gave none of the labels: {text[:200]!r}")
    return float(result in grader.passing_labels)
