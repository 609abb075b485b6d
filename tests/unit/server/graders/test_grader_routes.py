"""The grader endpoints: rewards, flags and refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

Spec = dict[str, Any]

CHECK: Spec = {
    "type": "string_check",
    "name": "exact",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}
SIMILAR: Spec = {
    "type": "text_similarity",
    "name": "near",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "evaluation_metric": "fuzzy_match",
}
MULTI: Spec = {
    "type": "multi",
    "name": "both",
    "graders": {"exact": CHECK, "near": SIMILAR},
    "calculate_output": "0.5 * exact + 0.5 * near",
}
SCORE: Spec = {"type": "score_model", "name": "judged", "model": "judge", "input": []}
FLAGS = {
    "formula_parse_error": False,
    "sample_parse_error": False,
    "truncated_observation_error": False,
    "unresponsive_reward_error": False,
    "invalid_variable_error": False,
    "other_error": False,
    "python_grader_server_error": False,
    "python_grader_server_error_type": None,
    "python_grader_runtime_error": False,
    "python_grader_runtime_error_details": None,
    "model_grader_server_error": False,
    "model_grader_refusal_error": False,
    "model_grader_parse_error": False,
    "model_grader_server_error_details": None,
    "details": None,
}


def run(client: TestClient, grader: Spec, sample: str, item: object = None) -> dict[str, Any]:
    body = {"grader": grader, "model_sample": sample} | ({} if item is None else {"item": item})
    answer = client.post("fine_tuning/alpha/graders/run", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_run_answers_in_full(client: TestClient) -> None:
    answer = run(client, CHECK, "yes", {"answer": "yes"})
    assert 0 <= answer["metadata"].pop("execution_time") < 5
    assert answer == {
        "reward": 1.0,
        "sub_rewards": {},
        "metadata": {
            "name": "exact",
            "type": "string_check",
            "errors": FLAGS,
            "scores": {},
            "token_usage": None,
            "sampled_model_name": None,
        },
        "model_grader_token_usage_per_model": {},
    }


@pytest.mark.parametrize(
    ("operation", "text", "reference", "reward"),
    [
        ("eq", "Yes", "Yes", 1),
        ("eq", "Yes", "yes", 0),
        ("eq", "Yes ", "Yes", 0),
        ("ne", "Yes", "yes", 1),
        ("ne", "Yes", "Yes", 0),
        ("like", "Oh Yes!", "Yes", 1),
        ("like", "Oh yes!", "Yes", 0),
        ("like", "Yes", "Oh Yes!", 0),
        ("like", "anything", "", 1),
        ("like", "100%", "1%", 0),
        ("ilike", "Oh YES!", "yes", 1),
        ("ilike", "STRASSE", "straße", 1),
        ("ilike", "no", "yes", 0),
    ],
)
def test_a_string_check_is_1_where_its_operation_holds(
    client: TestClient, operation: str, text: str, reference: str, reward: float
) -> None:
    answer = run(client, CHECK | {"operation": operation}, text, {"answer": reference})
    assert answer["reward"] == reward
    assert answer["metadata"]["errors"] == FLAGS


def test_similarity_is_graded_by_the_metric(client: TestClient) -> None:
    assert run(client, SIMILAR, "abc", {"answer": "abd"})["reward"] == pytest.approx(4 / 6)


def test_multi_combines_rewards_and_shows_each(client: TestClient) -> None:
    answer = run(client, MULTI, "abc", {"answer": "abd"})
    assert answer["reward"] == pytest.approx(2 / 6)
    assert answer["sub_rewards"] == {"exact": 0.0, "near": pytest.approx(4 / 6)}
    assert answer["metadata"]["scores"] == answer["sub_rewards"]
    assert (answer["metadata"]["name"], answer["metadata"]["type"]) == ("both", "multi")


def test_multi_with_a_single_grader_goes_by_its_name(client: TestClient) -> None:
    grader = MULTI | {"graders": CHECK, "calculate_output": "1 - exact"}
    assert run(client, grader, "a", {"answer": "b"})["reward"] == 1


def test_the_answer_of_a_sample_that_is_json_can_be_read(client: TestClient) -> None:
    grader = CHECK | {"input": "{{sample.output_json.n}}", "reference": "7"}
    assert run(client, grader, '{"n": 7}')["reward"] == 1


@pytest.mark.parametrize(
    ("change", "sample", "flag"),
    [
        ({"input": "{{item.other}}"}, "a", "invalid_variable_error"),
        ({"input": "{{sample.output_json.n}}"}, "no JSON", "sample_parse_error"),
        ({"input": "{{sample.output_json.n}}"}, "[]", "invalid_variable_error"),
    ],
)
def test_a_case_that_cannot_be_graded_has_a_flag_and_no_reward(
    client: TestClient, change: Spec, sample: str, flag: str
) -> None:
    answer = run(client, CHECK | change, sample, {"answer": "a"})
    assert answer["reward"] == 0
    details = answer["metadata"]["errors"].pop("details")
    assert details
    assert answer["metadata"]["errors"] == {k: v for k, v in FLAGS.items() if k != "details"} | {flag: True}


def test_where_one_of_several_graders_fails_there_is_no_reward(client: TestClient) -> None:
    broken = CHECK | {"input": "{{item.other}}"}
    grader = MULTI | {"graders": {"exact": broken, "near": SIMILAR}, "calculate_output": "1 - exact"}
    answer = run(client, grader, "abc", {"answer": "abc"})
    assert answer["reward"] == 0
    assert answer["sub_rewards"] == {"exact": 0.0, "near": 1.0}
    assert answer["metadata"]["errors"]["invalid_variable_error"]
    assert answer["metadata"]["errors"]["details"].startswith("exact: ")


def test_a_formula_without_a_value_is_flagged(client: TestClient) -> None:
    answer = run(client, MULTI | {"calculate_output": "near / exact"}, "abc", {"answer": "abd"})
    assert answer["reward"] == 0
    assert answer["metadata"]["errors"]["formula_parse_error"]
    assert answer["sub_rewards"]["near"] > 0


@pytest.mark.parametrize("grader", [CHECK, SIMILAR, MULTI])
def test_a_valid_grader_comes_back_as_it_was_sent(client: TestClient, grader: Spec) -> None:
    answer = client.post("fine_tuning/alpha/graders/validate", json={"grader": grader})
    assert (answer.status_code, answer.json()) == (200, {"grader": grader})


@pytest.mark.parametrize(
    ("grader", "param"),
    [
        ({}, "grader"),
        (CHECK | {"type": "stringcheck"}, "grader"),
        (CHECK | {"operation": "neq"}, "grader.operation"),
        (CHECK | {"input": "{{sample.text}}"}, "grader.input"),
        (CHECK | {"input": "{{item.a"}, "grader.input"),
        (CHECK | {"extra": 1}, "grader.extra"),
        ({k: v for k, v in CHECK.items() if k != "reference"}, "grader.reference"),
        (SIMILAR | {"evaluation_metric": "rouge_6"}, "grader.evaluation_metric"),
        (MULTI | {"calculate_output": "other"}, "grader"),
        (MULTI | {"calculate_output": "exact % near"}, "grader"),
        (MULTI | {"graders": {}}, "grader.graders"),
        (MULTI | {"graders": {"exact": CHECK | {"operation": 1}}}, "grader.graders.exact.operation"),
        (MULTI | {"graders": {"exact": MULTI}}, "grader.graders.exact"),
        (SCORE | {"range": [False, 1]}, "grader.range.0"),
        (SCORE | {"sampling_params": {"top_p": False}}, "grader.sampling_params.top_p"),
        (SCORE | {"sampling_params": {"temperature": "1"}}, "grader.sampling_params.temperature"),
        (SCORE | {"sampling_params": {"seed": True}}, "grader.sampling_params.seed"),
        (SCORE | {"sampling_params": {"max_completions_tokens": "1"}}, "grader.sampling_params.max_completions_tokens"),
    ],
)
@pytest.mark.parametrize("verb", ["validate", "run"])
def test_a_grader_that_is_none_is_refused_with_its_place(
    client: TestClient, verb: str, grader: Spec, param: str
) -> None:
    body = {"grader": grader} | ({"model_sample": "a"} if verb == "run" else {})
    answer = client.post(f"fine_tuning/alpha/graders/{verb}", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param), error
    assert error["message"]


@pytest.mark.parametrize(
    "body",
    [
        {"grader": CHECK},
        {"grader": CHECK, "model_sample": 7},
        {"grader": CHECK, "model_sample": "a", "item": "text"},
        {"grader": CHECK, "model_sample": "a", "items": {}},
        {"model_sample": "a"},
        [],
    ],
)
def test_a_run_without_what_it_needs_is_refused(client: TestClient, body: object) -> None:
    assert client.post("fine_tuning/alpha/graders/run", json=body).status_code == 400


@pytest.mark.parametrize("value", ['"\\ud800"', "1e999", "NaN", "[" * 500 + "]" * 500, '"\\u0000"', "9" * 5000])
@pytest.mark.parametrize("grader", [CHECK, SIMILAR, MULTI])
def test_odd_values_in_a_row_are_graded_or_refused(client: TestClient, grader: Spec, value: str) -> None:
    body = json.dumps({"grader": grader, "model_sample": "a", "item": {"answer": "HERE"}}).replace('"HERE"', value)
    answer = client.post(
        "fine_tuning/alpha/graders/run", content=body.encode(), headers={"content-type": "application/json"}
    )
    assert answer.status_code in {200, 400}, answer.text
