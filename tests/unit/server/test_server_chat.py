"""Chat completions, with a trainer that says what a test says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import openai
import pytest
from fastapi.testclient import TestClient
from serving import Serve

from reconciler.server.app import create_app
from reconciler.server.engine import Engine
from reconciler.server.store import Store
from reconciler.server.trainers.answers import AnswerRefused, End, Piece, Question, until
from reconciler.server.trainers.base import Control, Progress, Trainer, TrainerOptions, TrainingRun

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
HELLO = [{"role": "user", "content": "Hello?"}]


class Parrot(Trainer):
    """Answers with what it is given, in pieces; notes what it was asked."""

    def __init__(self, *answer: Piece | End | AnswerRefused) -> None:
        self._answer = answer
        self.asked: list[Question] = []

    @classmethod
    def start(cls, options: TrainerOptions) -> Self:
        raise NotImplementedError

    def train(self, run: TrainingRun, control: Control) -> Iterator[Progress]:
        raise NotImplementedError

    def answer(self, question: Question) -> Iterator[Piece | End]:
        self.asked.append(question)
        for each in self._answer:
            if isinstance(each, AnswerRefused):
                raise each
            yield each


@pytest.fixture
def ask(store: Store) -> Iterator[Any]:
    """Ask a parrot of a model that is listed, as the openai client does."""
    clients = []

    def make(parrot: Trainer) -> Any:
        web = TestClient(create_app(store, Engine(store, parrot)), base_url="http://test/v1/")
        client = openai.OpenAI(api_key="none", base_url="http://test/v1", http_client=web, max_retries=0)
        clients.append(client)
        return lambda **more: client.chat.completions.create(**{"model": "gpt-4.1-mini", "messages": HELLO, **more})

    yield make
    for client in clients:
        client.close()


def test_an_answer_is_whole(ask: Any) -> None:
    found = ask(Parrot(Piece("Good "), Piece("day."), End("stop", 5, 3)))()
    assert found.choices[0].message.content == "Good day."
    assert found.choices[0].finish_reason == "stop"
    assert (found.usage.prompt_tokens, found.usage.completion_tokens, found.usage.total_tokens) == (5, 3, 8)


def test_an_answer_comes_piece_by_piece(ask: Any) -> None:
    parrot = Parrot(Piece("Good "), Piece("day."), End("length", 5, 3))
    chunks = list(ask(parrot)(stream=True, stream_options={"include_usage": True}))
    assert [chunk.choices[0].delta.content for chunk in chunks[:-2]] == ["", "Good ", "day."]
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage.total_tokens == 8
    assert len({chunk.id for chunk in chunks}) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_tools_are_called(ask: Any, stream: bool) -> None:
    found = ask(Parrot(End("tool_calls", 5, 3, [CALL])))(stream=stream)
    if stream:
        _, calls, end = list(found)
        (call,) = calls.choices[0].delta.tool_calls
        assert end.choices[0].finish_reason == "tool_calls"
    else:
        (call,) = found.choices[0].message.tool_calls
        assert found.choices[0].message.content is None
    assert (call.id, call.function.name, call.function.arguments) == ("call_1", "f", "{}")


def test_what_is_asked_reaches_the_trainer(ask: Any) -> None:
    parrot = Parrot(End("stop", 1, 0))
    ask(parrot)(max_completion_tokens=7, temperature=0, top_p=0.5, stop="x", seed=3, tools=[{"type": "function"}])
    ask(parrot)(reasoning_effort="high")
    assert parrot.asked == [
        Question("gpt-4.1-mini", HELLO, [{"type": "function"}], 7, 0, 0.5, ["x"], 3),
        Question("gpt-4.1-mini", HELLO, [], reasoning_effort="high"),
    ]


def test_the_document_says_what_is_taken_and_what_comes(store: Store) -> None:
    document = create_app(store, Engine(store, Parrot())).openapi()
    stop = document["components"]["schemas"]["ChatRequest"]["properties"]["stop"]
    assert {each["type"] for each in stop["anyOf"]} == {"string", "array", "null"}
    answers = document["paths"]["/v1/chat/completions"]["post"]["responses"]
    assert set(answers["200"]["content"]) == {"application/json", "text/event-stream"}
    assert "500" in answers


@pytest.mark.parametrize(
    "form",
    [
        {"type": "text"},
        {"type": "json_object"},
        {
            "type": "json_schema",
            "json_schema": {"name": "n", "description": "d", "schema": {"enum": [None]}, "strict": True},
        },
    ],
)
def test_the_form_of_an_answer_reaches_the_trainer_as_it_came(ask: Any, form: Any) -> None:
    parrot = Parrot(End("stop", 1, 0))
    ask(parrot)(response_format=form)
    assert parrot.asked[0].response_format == form


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (AnswerRefused("context_length_exceeded", "Too long.", "messages"), openai.BadRequestError),
        (AnswerRefused("rate_limit_exceeded", "Busy.", busy=True), openai.RateLimitError),
        (AnswerRefused("server_error", "It broke.", busy=True), openai.InternalServerError),
        (AnswerRefused("out_of_memory", "Too large."), openai.InternalServerError),
        (AnswerRefused("model_not_available", "Damaged.", "model"), openai.InternalServerError),
        (AnswerRefused("insufficient_storage", "Full."), openai.InternalServerError),
        (AnswerRefused("server_stopping", "It stops.", busy=True), openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_has_its_status(ask: Any, refusal: AnswerRefused, kind: type[Exception], stream: bool) -> None:
    with pytest.raises(kind, match=refusal.message):
        ask(Parrot(refusal))(stream=stream)


def test_a_model_that_memory_does_not_hold_is_the_servers_fault_and_not_asked_again(store: Store) -> None:
    parrot = Parrot(AnswerRefused("out_of_memory", "Too large."))
    with TestClient(create_app(store, Engine(store, parrot)), base_url="http://test/v1/") as web:
        client = openai.OpenAI(api_key="none", base_url="http://test/v1", http_client=web)
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model="gpt-4.1-mini", messages=HELLO)  # type: ignore[arg-type]
    assert (caught.value.status_code, caught.value.code) == (503, "out_of_memory")
    assert caught.value.type == "server_error"
    assert len(parrot.asked) == 1


def test_a_fault_in_the_middle_of_a_stream_is_said(ask: Any) -> None:
    with (
        pytest.raises(openai.APIError, match="It broke"),
        closing(ask(Parrot(Piece("Good "), AnswerRefused("server_error", "It broke.")))(stream=True)) as chunks,
    ):
        list(chunks)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 2}, "n"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.json_schema.name"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a b"}}},
            "response_format.json_schema.name",
        ),
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"messages": []}, "messages"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"top_p": True}, "top_p"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_completion_tokens": "7"}, "max_completion_tokens"),
        ({"seed": False}, "seed"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(ask: Any, body: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(Parrot())(**body)
    assert caught.value.param == param


def test_half_a_character_is_refused_and_breaks_nothing(store: Store) -> None:
    half = [{"role": "user", "content": [{"type": "text", "text": "\ud83d"}]}]
    body, head = json.dumps({"model": "gpt-4.1-mini", "messages": half}), {"Content-Type": "application/json"}
    with TestClient(create_app(store, Engine(store, Parrot(End("stop", 1, 0))))) as web:
        answer = web.post("http://test/v1/chat/completions", content=body, headers=head)
    assert answer.status_code == 400
    assert "surrogate" in answer.json()["error"]["message"]


def test_a_model_that_does_not_exist_is_said(ask: Any) -> None:
    with pytest.raises(openai.NotFoundError, match="nobody"):
        ask(Parrot())(model="nobody")


def test_the_simulated_trainers_models_have_nothing_to_say(serve: Serve, tmp_path: Path) -> None:
    answer = serve(tmp_path).post("chat/completions", json={"model": "gpt-4.1-mini", "messages": HELLO})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "model_has_no_weights"


@pytest.mark.parametrize(
    ("stops", "pieces", "text", "reason"),
    [
        ([], ["a", "b"], "ab", "length"),
        (["x"], ["ab", "cxd"], "abc", "stop"),
        (["END"], ["aE", "ND", "b"], "a", "stop"),
        (["END"], ["aE", "N"], "aEN", "length"),
        (["bc", "c"], ["ab", "c"], "a", "stop"),
    ],
)
def test_an_answer_ends_before_a_stop(stops: list[str], pieces: list[str], text: str, reason: str) -> None:
    *found, end = until(stops, [*map(Piece, pieces), End("length", 5, 9)])
    assert "".join(piece.text for piece in found if isinstance(piece, Piece)) == text
    assert end == End(reason, 5, 9)  # type: ignore[arg-type]
