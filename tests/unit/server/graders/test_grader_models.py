"""Model graders against a real server on loopback that answers as it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from fastapi.testclient import TestClient

from reconciler.api.types import RunGrader
from reconciler.server.graders.case import Case
from reconciler.server.graders.grading import Graded, Graders
from reconciler.server.graders.settings import GraderSettings

Grading = Callable[[GraderSettings], TestClient]
Reply = tuple[int, Any]
KEY = "grader-key-1234"
SCORE: dict[str, Any] = {
    "type": "score_model",
    "name": "judge",
    "model": "judge-1",
    "input": [
        {"role": "system", "content": "Grade."},
        {"role": "user", "content": "Wanted {{item.answer}}, got {{sample.output_text}}"},
    ],
}
LABEL: dict[str, Any] = SCORE | {"type": "label_model", "labels": ["good", "bad"], "passing_labels": ["good"]}


class Judge:
    """Answers each request with the next reply, the last one for ever; keeps what it was sent."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.slept: list[float] = []
        self.retry_after: str | None = None
        self.url = ""

    @property
    def settings(self) -> GraderSettings:
        return GraderSettings(model_url=self.url, model_key=KEY, model_seconds=5)

    def grade(self, grader: dict[str, Any], *replies: Reply, text: str = "42") -> Graded:
        self.replies = list(replies)
        body = {"grader": wrapped(grader), "model_sample": text}
        graders = Graders(self.settings, sleep=self.slept.append)
        return graders.grade(RunGrader.model_validate(body).grader, Case(text, {"answer": "42"}))


def wrapped(grader: dict[str, Any]) -> dict[str, Any]:
    """A label model grader is taken within ``multi`` only."""
    if grader["type"] != "label_model":
        return grader
    return {"type": "multi", "name": "m", "graders": {"g": grader}, "calculate_output": "g"}


@pytest.fixture
def judge() -> Iterator[Judge]:
    judge = Judge()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/chat/completions"
            judge.keys.append(self.headers["Authorization"])
            judge.requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status, body = judge.replies.pop(0) if len(judge.replies) > 1 else judge.replies[0]
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            if judge.retry_after is not None:
                self.send_header("Retry-After", judge.retry_after)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        judge.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        yield judge
        server.shutdown()
        thread.join()


def says(text: Any, **message: Any) -> Reply:
    usage = {"prompt_tokens": 190, "completion_tokens": 34, "prompt_tokens_details": {"cached_tokens": 7}}
    return 200, {
        "model": "judge-1-2026",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text, **message}}],
        "usage": usage,
    }


@pytest.mark.parametrize(
    ("text", "reward"),
    [
        ('{"steps": [], "result": 0.75}', 0.75),
        ('{"result": 1}', 1.0),
        ('```json\n{"result": 0.5}\n```', 0.5),
        (" 0.25 \n", 0.25),
        ('"0.5"', 0.5),
        ("0", 0.0),
    ],
)
def test_a_model_gives_the_score(judge: Judge, text: str, reward: float) -> None:
    graded = judge.grade(SCORE, says(text))
    assert (graded.reward, graded.failed) == (reward, False)
    assert graded.usage[0].model == "judge-1-2026"
    assert (graded.usage[0].prompt, graded.usage[0].completion, graded.usage[0].cached) == (190, 34, 7)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "good",
        '{"result": "good"}',
        '{"score": 1}',
        "true",
        "NaN",
        "1e999",
        "9" * 400,
        "[0.5]",
        "2",
        "-0.1",
        "[" * 9999,
    ],
)
def test_an_answer_that_is_no_score_in_range_is_flagged(judge: Judge, text: str) -> None:
    graded = judge.grade(SCORE, says(text))
    assert (graded.reward, graded.errors.model_grader_parse_error) == (0, True)


def test_a_range_of_its_own_holds(judge: Judge) -> None:
    assert judge.grade(SCORE | {"range": [-1, 10]}, says("7")).reward == 7
    assert judge.grade(SCORE | {"range": [0, 5]}, says("7")).errors.model_grader_parse_error


@pytest.mark.parametrize(("text", "reward"), [('{"result": "good"}', 1.0), ("bad", 0.0)])
def test_a_model_picks_a_label(judge: Judge, text: str, reward: float) -> None:
    graded = judge.grade(LABEL, says(text))
    assert (graded.reward, graded.failed) == (reward, False)
    assert len(graded.usage) == 1


def test_a_label_that_is_none_is_flagged(judge: Judge) -> None:
    graded = judge.grade(LABEL, says('{"result": "fine"}'))
    assert graded.errors.model_grader_parse_error
    assert str(graded.errors.details).startswith("g: ")


def test_what_is_sent_is_filled_in_and_asks_for_a_schema(judge: Judge) -> None:
    sampling = {"max_completions_tokens": 50, "temperature": 0.5, "top_p": 1, "seed": 3, "reasoning_effort": "low"}
    judge.grade(SCORE | {"sampling_params": sampling}, says("1"), text="{{item.answer}}")
    (sent,) = judge.requests
    schema = sent.pop("response_format")["json_schema"]["schema"]
    assert schema["properties"]["result"] == {"type": "number"}
    assert sent == {
        "model": "judge-1",
        "messages": [
            {"role": "system", "content": "Grade."},
            {"role": "user", "content": "Wanted 42, got {{item.answer}}"},
        ],
        "max_completion_tokens": 50,
        "temperature": 0.5,
        "top_p": 1,
        "seed": 3,
        "reasoning_effort": "low",
    }
    assert judge.keys == [f"Bearer {KEY}"]


def test_images_and_sound_are_sent_as_chat_completions_has_them(judge: Judge) -> None:
    content = [
        {"type": "input_text", "text": "{{sample.output_text}}"},
        {"type": "input_image", "image_url": "https://images.example/{{item.answer}}", "detail": "low"},
        {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}},
    ]
    judge.grade(SCORE | {"input": [{"role": "user", "content": content}]}, says("1"))
    assert judge.requests[0]["messages"][0]["content"] == [
        {"type": "text", "text": "42"},
        {"type": "image_url", "image_url": {"url": "https://images.example/42", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}},
    ]


def test_a_server_without_schemas_is_asked_without(judge: Judge) -> None:
    graded = judge.grade(SCORE, (400, {"error": {"message": "response_format is not supported"}}), says("0.5"))
    assert graded.reward == 0.5
    assert ["response_format" in sent for sent in judge.requests] == [True, False]


def test_a_server_that_is_busy_is_asked_again(judge: Judge) -> None:
    judge.retry_after = "3"
    assert judge.grade(SCORE, (429, {}), (503, b""), says("0.5")).reward == 0.5
    assert judge.slept == [3.0, 3.0]


@pytest.mark.parametrize(
    "reply", [(500, {"error": {"message": f"{KEY} failed"}}), (401, {"error": f"Wrong {KEY}"}), (404, b"<html>")]
)
def test_a_server_that_refuses_is_flagged_without_the_key(judge: Judge, reply: Reply) -> None:
    graded = judge.grade(SCORE, reply)
    assert graded.reward == 0
    assert graded.errors.model_grader_server_error
    assert f"HTTP {reply[0]}" in str(graded.errors.model_grader_server_error_details)
    assert KEY not in graded.errors.model_dump_json()
    assert len(judge.requests) == (3 if reply[0] == 500 else 1)


def test_a_model_that_refuses_is_flagged(judge: Judge) -> None:
    graded = judge.grade(SCORE, says(None, refusal="I cannot \ud800."))
    assert graded.errors.model_grader_refusal_error
    graded.errors.model_dump_json()


@pytest.mark.parametrize("body", [b"text", {}, [], {"choices": []}, {"choices": [{"message": {"content": None}}]}])
def test_an_answer_of_another_kind_is_flagged(judge: Judge, body: Any) -> None:
    assert judge.grade(SCORE, (200, body)).errors.model_grader_parse_error


def test_an_answer_without_end_is_flagged(judge: Judge) -> None:
    assert judge.grade(SCORE, (200, b"x" * 2_000_000)).errors.model_grader_server_error


def test_a_server_that_is_not_there_is_flagged(judge: Judge) -> None:
    judge.url = "http://127.0.0.1:9/v1"
    graded = judge.grade(SCORE, says("1"))
    assert graded.errors.model_grader_server_error
    assert judge.slept == [1.0, 2.0]


def test_a_proxy_that_cannot_be_used_is_said_without_its_password(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "ftp://u:secret@127.0.0.1:9")
    errors = judge.grade(SCORE, says("1")).errors
    assert "no URL of a proxy" in str(errors.model_grader_server_error_details)
    assert "secret" not in errors.model_dump_json()


def test_a_run_says_which_model_and_how_many_tokens(judge: Judge, grading: Grading) -> None:
    judge.replies = [says('{"result": 0.75}')]
    client = grading(judge.settings)
    multi = {"type": "multi", "name": "m", "graders": {"a": SCORE, "b": SCORE}, "calculate_output": "a + b"}
    body = {"grader": multi, "model_sample": "42", "item": {"answer": "42"}}
    answer = client.post("fine_tuning/alpha/graders/run", json=body).json()
    assert answer["reward"] == 1.5
    assert answer["metadata"]["token_usage"] == 448
    assert answer["metadata"]["sampled_model_name"] == "judge-1-2026"
    sums = {"prompt_tokens": 380, "completion_tokens": 68, "total_tokens": 448, "cached_tokens": 14}
    assert answer["model_grader_token_usage_per_model"] == {"judge-1-2026": sums}


@pytest.mark.parametrize(("grader", "param"), [(SCORE, "grader"), (LABEL, "grader.graders.g")])
def test_without_a_server_for_models_a_run_is_refused(client: TestClient, grader: dict[str, Any], param: str) -> None:
    body = {"grader": wrapped(grader), "model_sample": "42"}
    answer = client.post("fine_tuning/alpha/graders/run", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (403, "model_grader_not_configured", param)
    assert "RECONCILER_GRADER_URL" in error["message"]


def test_a_prompt_that_would_fill_the_memory_is_flagged(judge: Judge) -> None:
    message = {"role": "user", "content": "{{sample.output_text}}" * 9}
    graded = judge.grade(SCORE | {"input": [message] * 1000}, says("1"), text="x" * 100_000)
    assert graded.errors.other_error
    crowded = {"role": "user", "content": [{"type": "input_text", "text": "a"}] * 101}
    assert judge.grade(SCORE | {"input": [crowded]}, says("1")).errors.other_error
    assert judge.requests == []
