"""JSON Schemas (draft 2020-12) of specs and of ``reconciler.yaml``, for editors and checkers.

They are made from the models, and committed beside this module so that they can be read without importing anything.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any, Literal

from pydantic import TypeAdapter

from reconciler.api.types import Grader
from reconciler.spec.config import OVERRIDABLE, Config
from reconciler.spec.model import HYPERPARAMETERS, RESERVED, Spec

Kind = Literal["spec", "config"]
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DEFS = "#/$defs/{model}"


def json_schema() -> dict[str, Any]:
    """Return the schema of one spec, in both forms, with ``matrix``."""
    schema = Spec.model_json_schema(ref_template=_DEFS)
    grader = TypeAdapter[Any](Grader).json_schema(ref_template=_DEFS)
    schema["$defs"] |= grader.pop("$defs")
    fields = schema["properties"]
    fields["method"] = {
        "description": fields["method"]["description"],
        "anyOf": [{"enum": list(HYPERPARAMETERS)}, {"$ref": "#/$defs/Method"}],
        "default": "supervised",
    }
    fields["metadata"]["propertyNames"]["pattern"] = f"^(?!{RESERVED.replace('.', '[.]')})"
    fields |= {
        "hyperparameters": {
            "type": "object",
            "description": "Each is a number, or auto: the server chooses.",
        },
        "grader": grader | {"description": "reinforcement only: what turns an answer into a reward."},
        "response_format": {
            "type": ["object", "null"],
            "description": 'reinforcement only: {"type": "json_schema", "json_schema": {...}}.',
        },
        "wandb": {"$ref": "#/$defs/Wandb", "description": "The short form of one integration."},
        "matrix": {
            "type": "object",
            "description": "One job a combination, named NAME-VALUE-...: {hyperparameters.n_epochs: [1, 2, 3]}.",
            "minProperties": 1,
            "additionalProperties": {"type": "array", "minItems": 1},
        },
    }
    del schema["required"]
    schema["anyOf"] = [
        {"required": ["name", "model", "training_file"]},
        {"required": ["name", "matrix"]},  # which may give the other two
    ]
    schema["allOf"] = _conditions()
    return {"$schema": _DIALECT, "title": "A fine-tuning job", **_tidy(schema)}


def _conditions() -> list[dict[str, Any]]:
    """Tie the flat form to its method, and keep it apart from the create body."""
    flat = ("hyperparameters", "grader", "response_format")
    conditions: list[dict[str, Any]] = []
    for method, model in HYPERPARAMETERS.items():
        given: dict[str, Any] = {"properties": {"method": {"const": method}}}
        if method != "supervised":  # which holds where no method is named, too
            given["required"] = ["method"]
        then: dict[str, Any] = {"properties": {"hyperparameters": {"$ref": f"#/$defs/{model.__name__}"}}}
        if method != "reinforcement":
            then["properties"] |= {"grader": False, "response_format": False}
        conditions.append({"if": given, "then": then})
    whole = {"properties": {"method": {"type": "object"}}, "required": ["method"]}
    conditions.append({"if": whole, "then": {"properties": dict.fromkeys(flat, False)}})
    conditions.append({"if": {"required": ["wandb"]}, "then": {"properties": {"integrations": False}}})
    return conditions


def config_schema() -> dict[str, Any]:
    """Return the schema of ``reconciler.yaml``."""
    schema = Config.model_json_schema(ref_template=_DEFS)
    policy = schema["$defs"]["Policy"]["properties"]
    count = {"type": "integer", "minimum": 1, "description": "In all."}
    policy["max_active"] = {"anyOf": [count, {"$ref": "#/$defs/MaxActive"}]}
    policy["max_prune"] = {
        "anyOf": [
            {"type": "integer", "minimum": 0},
            {"type": "string", "pattern": "^[0-9]{1,3} *%$"},
            {"$ref": "#/$defs/MaxPrune"},
        ]
    }
    policy["prices"]["additionalProperties"] = {
        "anyOf": [{"type": "number", "minimum": 0}, {"$ref": "#/$defs/Price"}],
    }
    schema["$defs"]["Environment"]["properties"]["overrides"]["propertyNames"] = {"enum": sorted(OVERRIDABLE)}
    return {"$schema": _DIALECT, "title": "reconciler.yaml", **_tidy(schema)}


def rendered(schema: dict[str, Any]) -> str:
    """Write a schema as it is committed."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def committed(kind: Kind) -> str:
    """Read a schema as it was committed, which is what this version accepts."""
    return resources.files("reconciler.spec").joinpath(f"{kind}.schema.json").read_text(encoding="utf-8")


def _tidy(schema: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Leave out the titles that pydantic makes of names: an editor would show them instead of the description."""
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _tidy(value) for key, value in schema.items() if not (key == "title" and isinstance(value, str))}
