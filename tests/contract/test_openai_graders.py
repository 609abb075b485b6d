"""The ``openai`` client tries graders out: what it sends is taken, what it gets it understands."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai.types.graders import StringCheckGrader

CHECK: Any = {
    "type": "string_check",
    "name": "exact",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "ilike",
}
SIMILAR: Any = {
    "type": "text_similarity",
    "name": "near",
    "input": "{{sample.output_json.answer}}",
    "reference": "{{item.answer}}",
    "evaluation_metric": "rouge_l",
}
METRICS = ["cosine", "fuzzy_match", "bleu", "gleu", "meteor", *(f"rouge_{kind}" for kind in "12345l")]


def test_a_grader_is_validated(client: openai.OpenAI) -> None:
    answer = client.fine_tuning.alpha.graders.validate(grader=CHECK)
    assert isinstance(answer.grader, StringCheckGrader)
    assert answer.grader.to_dict() == CHECK


def test_a_grader_is_run(client: openai.OpenAI) -> None:
    answer = client.fine_tuning.alpha.graders.run(grader=CHECK, model_sample="Yes!", item={"answer": "yes"})
    assert answer.reward == 1
    assert answer.metadata.name == "exact"
    assert answer.metadata.errors.other_error is False
    assert answer.api_model_grader_token_usage_per_model == {}


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_gives_a_reward(client: openai.OpenAI, metric: str) -> None:
    item = {"answer": "the cat sat on the mat today"}
    grader = SIMILAR | {"evaluation_metric": metric}
    sample = '{"answer": "the cat sat on the mat tonight"}'
    answer = client.fine_tuning.alpha.graders.run(grader=grader, model_sample=sample, item=item)
    assert 0.5 < answer.reward < 1


def test_several_graders_are_combined(client: openai.OpenAI) -> None:
    graders = {"exact": CHECK, "near": SIMILAR}
    multi: Any = {"type": "multi", "name": "both", "graders": graders, "calculate_output": "max(exact, near) ^ 2"}
    sample = '{"answer": "a b c d"}'
    answer = client.fine_tuning.alpha.graders.run(grader=multi, model_sample=sample, item={"answer": "a b"})
    assert answer.sub_rewards == {"exact": 1, "near": pytest.approx(2 * 2 / 6)}
    assert answer.reward == 1


def test_a_sample_that_cannot_be_graded_is_flagged(client: openai.OpenAI) -> None:
    answer = client.fine_tuning.alpha.graders.run(grader=SIMILAR, model_sample="no JSON", item={"answer": "a"})
    assert answer.reward == 0
    assert answer.metadata.errors.sample_parse_error is True
    assert answer.metadata.errors.invalid_variable_error is False


@pytest.mark.parametrize("verb", ["run", "validate"])
def test_a_wrong_grader_is_a_bad_request_with_its_param(client: openai.OpenAI, verb: str) -> None:
    sent: dict[str, Any] = {"grader": CHECK | {"operation": "neq"}} | ({"model_sample": ""} if verb == "run" else {})
    with pytest.raises(openai.BadRequestError) as refused:
        getattr(client.fine_tuning.alpha.graders, verb)(**sent)
    assert refused.value.param == "grader.operation"


def test_code_is_not_run_unless_the_owner_allows_it(client: openai.OpenAI) -> None:
    code: Any = {"type": "python", "name": "code", "source": "def grade(sample, item): return 1"}
    assert client.fine_tuning.alpha.graders.validate(grader=code).grader is not None
    with pytest.raises(openai.PermissionDeniedError) as refused:
        client.fine_tuning.alpha.graders.run(grader=code, model_sample="")
    assert refused.value.code == "python_grader_not_allowed"
