"""The schemas are current, are schemas, and judge as the loader does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from reconciler.spec.documents import read
from reconciler.spec.schema import Kind, committed, config_schema, json_schema, rendered

MAKE = {"spec": json_schema, "config": config_schema}
BASE: dict[str, Any] = {"name": "a", "model": "m", "training_file": "t.jsonl"}
GRADER = {"type": "string_check", "name": "g", "input": "x", "reference": "y", "operation": "eq"}
REPOSITORY = Path(__file__).parents[3]


@pytest.mark.parametrize("kind", ["spec", "config"])
def test_the_committed_schema_is_current(kind: Kind) -> None:
    command = (
        f"python -c 'from reconciler.spec import schema as s; print(s.rendered(s.{MAKE[kind].__name__}()), end=\"\")'"
    )
    assert committed(kind) == rendered(MAKE[kind]()), f"write it anew: {command} > reconciler/spec/{kind}.schema.json"


@pytest.mark.parametrize("kind", ["spec", "config"])
def test_the_schema_is_one_of_draft_2020_12(kind: Kind) -> None:
    schema = MAKE[kind]()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"model": {"job": "b", "checkpoint": 3}},
        {"hyperparameters": {"n_epochs": "auto", "learning_rate_multiplier": 0.5}},
        {"method": "dpo", "hyperparameters": {"beta": 0.1}},
        {"method": "reinforcement", "grader": GRADER, "response_format": {"type": "json_schema"}},
        {"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.1}}}},
        {"wandb": {"project": "p", "tags": ["x"]}},
        {"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]},
        {"matrix": {"hyperparameters.n_epochs": [1, 2]}},
        {"state": "paused", "replace": "wait", "retry": {"limit": 2}, "protect": True, "priority": -1, "rerun": "x"},
        {
            "adopt": {"job": "ftjob-1", "revision": "0123456789abcdef"},
            "permissions": ["proj_1"],
            "metadata": {"a": "b"},
        },
    ],
)
def test_good_specs_are_accepted(more: dict[str, Any]) -> None:
    jsonschema.validate(BASE | more, json_schema())


def test_a_matrix_may_give_what_is_required() -> None:
    jsonschema.validate({"name": "a", "matrix": {"model": ["m"], "training_file": ["t"]}}, json_schema())


@pytest.mark.parametrize(
    "more",
    [
        {"modell": "x"},
        {"name": "Big Name"},
        {"hyperparameters": {"n_epochs": 51}},
        {"hyperparameters": {"beta": 0.1}},
        {"method": "dpo", "hyperparameters": {"compute_multiplier": 1}},
        {"method": "superviesd"},
        {"grader": GRADER},
        {"method": "dpo", "response_format": {}},
        {"method": {"type": "supervised"}, "hyperparameters": {"n_epochs": 1}},
        {"wandb": {"project": "p"}, "integrations": []},
        {"metadata": {"reconciler.owner": "x"}},
        {"metadata": {"a": 1}},
        {"matrix": {"seed": 1}},
        {"seed": -1},
        {"suffix": "x" * 65},
        {"permissions": ["x"]},
        {"adopt": {"job": "ftjob-1", "revision": "x"}},
        {"priority": 5000},
    ],
)
def test_bad_specs_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(BASE | more, json_schema())


@pytest.mark.parametrize(
    ("settings", "good"),
    [
        ({"owner": "a", "server": "local", "policy": {"max_active": 3, "max_prune": "30%"}}, True),
        ({"policy": {"max_active": {"total": 3}, "max_prune": {"share": 0.5}}}, True),
        ({"environments": {"prod": {"overrides": {"hyperparameters": {"n_epochs": 1}}}}}, True),
        ({"environments": {"prod": {"overrides": {"name": "x"}}}}, False),
        ({"policy": {"max_active": "3"}}, False),
        ({"servers": {"a": {"key_env": "A"}}}, False),
    ],
)
def test_settings_are_judged(settings: dict[str, Any], good: bool) -> None:
    assert jsonschema.Draft202012Validator(config_schema()).is_valid(settings) is good


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("specs/*.yaml")), ids=lambda path: path.name)
def test_our_own_specs_are_accepted(path: Path) -> None:
    for document in read(path.name, path.read_bytes()):
        jsonschema.validate(document.value(), json_schema())


def test_every_field_has_words_for_editors() -> None:
    for schema in (json_schema(), config_schema()):
        assert [name for name, field in schema["properties"].items() if not field.get("description")] == []
