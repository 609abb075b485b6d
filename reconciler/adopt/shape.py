"""A live job as a spec would say it. Pure.

What trained is written as it trained: numbers that the server chose, the seed it drew. A spec is strict where servers
are not, so keys that no spec knows are left out and named; a job that a spec cannot express without changing what it
says (an unknown method, a value out of range, too many labels) is refused as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from reconciler.api.types import Job
from reconciler.observe.state import ObservedJob
from reconciler.spec.desired import State
from reconciler.spec.faults import dotted, faults
from reconciler.spec.model import FILE_ID, HYPERPARAMETERS, RESERVED, Path, Spec, canonical

_SETTINGS = ("hyperparameters", "grader", "response_format")
_STATES: Mapping[str, State] = {
    "paused": "paused",
    "pausing": "paused",
    "cancelled": "cancelled",
    "failed": "cancelled",  # running would ask for another attempt
}
_AUTO = (None, "auto", -1)
"""How servers write that a hyperparameter is theirs to choose."""


class Inexpressible(ValueError):
    """No spec can say what this job is; the message says why."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields of a spec in the order a person would write them, and what had to be left out."""

    body: Mapping[str, Any]
    left_out: tuple[str, ...] = ()


def shape(job: Job, name: str, model: str | Mapping[str, Any], files: Mapping[str, str]) -> Shape:
    """Say a job as a spec named ``name`` that starts from ``model``.

    ``files`` maps ids of files to the paths where their content was saved; other files stay ids.

    Raises:
        Inexpressible: no spec can say it.
    """
    seen = ObservedJob.of(job, name, "", 1)
    settings, left_out = _settings(seen.method, job)
    body: dict[str, Any] = {
        "name": name,
        "model": model,
        "training_file": _file("training", seen.training_file, files),
        "validation_file": seen.validation_file and _file("validation", seen.validation_file, files),
        "suffix": seen.suffix,
        "seed": seen.seed,
        **settings,
        **_integrations(seen.integrations, left_out),
        "metadata": {key: value for key, value in seen.metadata.items() if not key.startswith(RESERVED)},
        "state": _STATES.get(job.status),
    }
    body = {key: value for key, value in body.items() if value not in (None, {})}
    left_out += _leave_out_unknown(body)
    return Shape(body, tuple(left_out))


def _file(what: str, file_id: str | None, files: Mapping[str, str]) -> str:
    if not file_id:
        raise Inexpressible(f"it names no {what} file")
    if file_id not in files and not FILE_ID.fullmatch(file_id):
        raise Inexpressible(f"its {what} file {file_id[:80]!r} is no file id (file-...); --download saves its content")
    return files.get(file_id, file_id)


def _settings(method: Mapping[str, Any], job: Job) -> tuple[dict[str, Any], list[str]]:
    """Return the method's fields, and the keys beside them that no spec knows."""
    kind = method.get("type")
    if kind not in HYPERPARAMETERS:
        raise Inexpressible(f"its method is {str(kind)[:80]!r}, which no spec knows")
    given = method.get(kind)
    settings = _without_null(given) if isinstance(given, Mapping) else {}
    if isinstance(given, Mapping) and given.get("response_format") is not None:
        settings["response_format"] = given["response_format"]  # a JSON Schema may mean its nulls
    numbers = settings.pop("hyperparameters", None) or job.hyperparameters or {}
    chosen = {key: value for key, value in numbers.items() if value not in _AUTO}
    body = {"method": kind, "hyperparameters": chosen, **{key: settings.pop(key, None) for key in _SETTINGS[1:]}}
    return body, [f"method.{kind}.{key}" for key in settings]


def _without_null(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, Mapping):
        return {key: _without_null(inner) for key, inner in value.items() if inner is not None}
    return [_without_null(inner) for inner in value] if isinstance(value, list) else value


def _integrations(integrations: Sequence[Mapping[str, Any]], left_out: list[str]) -> dict[str, Any]:
    """Return the short form where there is one, the list where there are more."""
    found = []
    for integration in integrations:
        wandb = integration.get("wandb")
        if integration.get("type") == "wandb" and isinstance(wandb, Mapping):
            found.append({key: value for key, value in wandb.items() if key != "run_id" and value is not None})
        else:
            left_out.append(f"integration {str(integration.get('type'))[:80]!r}")
    if len(found) == 1:
        return {"wandb": found[0]}
    return {"integrations": [{"type": "wandb", "wandb": wandb} for wandb in found] or None}


def _leave_out_unknown(body: dict[str, Any]) -> list[str]:
    """Remove keys inside of fields that no spec knows; return them.

    Raises:
        Inexpressible: something else is wrong.
    """
    left_out: list[str] = []
    while True:
        form = canonical(body)
        try:
            Spec.model_validate(form.body)
        except ValidationError as error:
            found = [(form.as_written(fault.path), fault) for fault in faults(error, form.body, Spec)]
            unknown = [path for path, fault in found if fault.on_key and path[0] != "metadata"]
            if not unknown:
                raise Inexpressible("; ".join(f"{dotted(path)} {fault.message}" for path, fault in found)) from error
            for path in unknown:
                _remove(body, path)
            left_out += map(dotted, unknown)
        else:
            return left_out


def _remove(body: dict[str, Any], path: Path) -> None:
    at: Any = body
    for step in path[:-1]:
        at = at[step]
    del at[path[-1]]
