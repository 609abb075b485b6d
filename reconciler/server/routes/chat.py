"""Chat completions: what a model that was trained here says, and its base."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Body
from fastapi.responses import Response, StreamingResponse
from pydantic import BeforeValidator

from reconciler.api.types.chat import ChatRequest
from reconciler.server import operations
from reconciler.server.documents import Document, dump
from reconciler.server.problems import Problem, not_found
from reconciler.server.routes.shared import Here, answer, storable
from reconciler.server.schemas import ChatAnswer, ErrorAnswer
from reconciler.server.trainers.answers import AnswerRefused, End, Piece, Question

router = APIRouter(prefix="/chat/completions", tags=["models"])
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}}},
    500: {"model": ErrorAnswer, "description": "The model broke while it answered."},
    503: {"model": ErrorAnswer, "description": "The model cannot be loaded, or the database cannot be used."},
}
_OURS = {
    "server_error": 500,
    "model_not_available": 503,
    "out_of_memory": 503,
    "server_stopping": 503,
    "insufficient_storage": 507,
}
"""What is no fault of the request, by its code."""
_STAYS = ("model_not_available", "out_of_memory")


@router.post("", response_model=ChatAnswer, responses=_ANSWERS)
def create_completion(here: Here, body: Annotated[ChatRequest, BeforeValidator(storable), Body()]) -> Response:
    """Answer a conversation, at once or (``stream``) piece by piece as events."""
    trainer = here.engine.trainer
    with here.store.read() as db:
        if operations.find_model(db, body.model, trainer.bases) is None:
            raise not_found("model", body.model, "model")
    head: Document = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(here.clock()), "model": body.model}
    try:
        pieces = trainer.answer(question(body))
        first = next(pieces)  # what can be refused is refused before the answer begins
        if body.stream:
            usage = bool(body.stream_options and body.stream_options.include_usage)
            return StreamingResponse(events(head, _again(first, pieces), usage=usage), media_type="text/event-stream")
        return answer(whole(head, _again(first, pieces)))
    except AnswerRefused as refused:
        raise _problem(refused) from refused


def question(body: ChatRequest) -> Question:
    """Return what a request asks."""
    tools = [] if body.tool_choice == "none" else body.tools or []
    return Question(
        model=body.model,
        messages=[message.model_dump(exclude_none=True) for message in body.messages],
        tools=tools,
        most=body.max_completion_tokens or body.max_tokens,
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        stop=body.stop or (),
        seed=body.seed,
        response_format=body.response_format.model_dump(by_alias=True) if body.response_format else None,
        reasoning_effort=body.reasoning_effort,
    )


def whole(head: Document, pieces: Iterator[Piece | End]) -> Document:
    """Return an answer as one document."""
    text, end = "", None
    for piece in pieces:
        if isinstance(piece, Piece):
            text += piece.text
        else:
            end = piece
    assert end is not None  # noqa: S101 - a trainer's answer has one
    message: Document = {"role": "assistant", "content": text or (None if end.calls else ""), "refusal": None}
    if end.calls:
        message["tool_calls"] = list(end.calls)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": end.reason}
    return {**head, "object": "chat.completion", "choices": [choice], "usage": _usage(end)}


def events(head: Document, pieces: Iterator[Piece | End], *, usage: bool) -> Iterator[str]:
    """Yield an answer as server-sent events. A fault on the way is an event, too: the status has been sent."""
    head = {**head, "object": "chat.completion.chunk"} | ({"usage": None} if usage else {})

    def chunk(delta: dict[str, Any], reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return _event({**head, "choices": [choice]})

    yield chunk({"role": "assistant", "content": ""})
    try:
        for piece in pieces:
            if isinstance(piece, Piece):
                yield chunk({"content": piece.text})
                continue
            if piece.calls:
                yield chunk({"tool_calls": [{"index": n, **call} for n, call in enumerate(piece.calls)]})
            yield chunk({}, piece.reason)
            if usage:
                yield _event({**head, "choices": [], "usage": _usage(piece)})
    except AnswerRefused as refused:
        yield _event(json.loads(bytes(_problem(refused).response.body)))
    yield "data: [DONE]\n\n"


def _again(first: Piece | End, rest: Iterator[Piece | End]) -> Iterator[Piece | End]:
    yield first
    yield from rest


def _event(document: Document) -> str:
    return f"data: {dump(document)}\n\n"


def _usage(end: End) -> Document:
    return {
        "prompt_tokens": end.prompt_tokens,
        "completion_tokens": end.completion_tokens,
        "total_tokens": end.prompt_tokens + end.completion_tokens,
    }


def _problem(refused: AnswerRefused) -> Problem:
    status = _OURS.get(refused.code) or (429 if refused.busy else 400)
    headers = {"Retry-After": "1"} if refused.busy else None
    if refused.code in _STAYS:
        headers = {"x-should-retry": "false"}  # to openai's clients: a model is loaded again in vain
    return Problem(status, refused.message, code=refused.code, param=refused.param, headers=headers)
