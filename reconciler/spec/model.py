"""What a spec may say: one job, in the API's own field names.

Two forms are accepted. The API's create body is the canonical one, and the model below is that body plus what the
reconciler adds. The flat form is for people; :func:`canonical` rewrites it into the body, and remembers what moved
so that errors can be told in the words of the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from reconciler.api.types import (
    DpoHyperparameters,
    Integration,
    Method,
    ReinforcementHyperparameters,
    SupervisedHyperparameters,
)
from reconciler.api.types.jobs import MetadataValue, Seed
from reconciler.spec.desired import Replace, State

Path = tuple[str | int, ...]

RESERVED = "reconciler."
FLAT = ("hyperparameters", "grader", "response_format", "wandb")
"""Keys of the flat form that the create body keeps elsewhere."""

HYPERPARAMETERS = {
    "supervised": SupervisedHyperparameters,
    "dpo": DpoHyperparameters,
    "reinforcement": ReinforcementHyperparameters,
}

MAX_NAME = 63
_NAME = r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"
_JOB_ID = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$"
_DIGEST = r"^[0-9a-f]{16}$"
_PROJECT = r"^proj_[A-Za-z0-9_-]{1,120}$"
IN_WORDS = {
    _NAME: "1 to 63 lower-case letters, digits, dots and dashes, with a letter or digit at both ends",
    _JOB_ID: "a job's id (ftjob-...)",
    _DIGEST: "16 hexadecimal digits",
    _PROJECT: "a project's id (proj_...)",
}
"""What each pattern asks for."""

ELSEWHERE = {
    **{
        key: f"it is a hyperparameter of {method}"
        for method, model in HYPERPARAMETERS.items()
        for key in model.model_fields.keys() - SupervisedHyperparameters.model_fields.keys()
    },
    **{key: f"did you mean 'hyperparameters.{key}'?" for key in SupervisedHyperparameters.model_fields},
    **dict.fromkeys(["api_key", "key", "token"], "a key never belongs in a file: name its variable with key_env"),
}
"""What to say of keys that stand at a wrong place."""


def _one_line(text: str) -> str:
    if "\n" in text or "\t" in text or text != text.strip():
        raise ValueError("must be one line without tabs or outer spaces")
    return text


def _not_reserved(key: str) -> str:
    if key.startswith(RESERVED):
        raise ValueError(f"keys that start with '{RESERVED}' are the reconciler's own")
    return _one_line(key)


def _quoted(value: object) -> object:
    """Where text may look like a number, say how to write it instead of guessing how it was meant."""
    if isinstance(value, (bool, int, float)):
        raise ValueError(f"must be text; put it in quotes: '{_yaml(value)}'")  # noqa: TRY004 - pydantic wants it
    return value


def _yaml(value: float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _whole(value: object) -> object:
    """Refuse what pydantic would quietly turn into an integer."""
    if isinstance(value, (bool, str)):
        raise ValueError("must be a whole number")  # noqa: TRY004 - pydantic wants it
    return value


def _checkpoint(value: object) -> object:
    if value in ("best", "last") or (type(value) is int and value >= 1):
        return value
    raise ValueError("must be best, last, or the number of a step")


def _flag(value: object) -> object:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004 - pydantic wants it
    return value


OneLine = AfterValidator(_one_line)
Text = BeforeValidator(_quoted)
Whole = BeforeValidator(_whole)
Name = Annotated[
    str,
    Field(
        pattern=_NAME,
        description="The job's name, unique for the owner: lower-case letters, digits, dots and dashes.",
    ),
    Text,
]
Model = Annotated[str, Field(min_length=1, max_length=256), OneLine]
Reference = Annotated[str, Field(min_length=1, max_length=1024), OneLine]


class Section(BaseModel):
    """Strict: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Chain(Section):
    """A base model that another spec produces."""

    job: Annotated[Name, Field(description="The name of the spec whose model this one starts from.")]
    checkpoint: Annotated[
        Literal["best", "last"] | Annotated[int, Field(ge=1)],
        Field(description="Which checkpoint: best of those kept (highest reward, else lowest loss), last, or a step."),
        BeforeValidator(_checkpoint),
    ] = "last"


class Retry(Section):
    """What to do about transient failures."""

    limit: Annotated[int, Field(ge=0, le=10, description="How many more attempts a job gets."), Whole] = 0


class AdoptJob(Section):
    """A job made elsewhere that counts as this spec's."""

    job: Annotated[str, Field(pattern=_JOB_ID, description="The job's id, ftjob-...")]
    revision: Annotated[str, Field(pattern=_DIGEST, description="The spec's revision that the job stands for."), Text]


def _model_form(value: object) -> str:
    return "chain" if isinstance(value, (dict, Chain)) else "name"


class Spec(Section):
    """One fine-tuning job."""

    name: Name
    model: Annotated[
        Annotated[Model, Tag("name")] | Annotated[Chain, Tag("chain")],
        Discriminator(_model_form),
        Field(description="The base model: its name, or {job: NAME, checkpoint: best | last | STEP}."),
    ]
    training_file: Annotated[
        Reference, Field(description="JSONL: a path relative to this file, or the id of an uploaded file (file-...).")
    ]
    validation_file: Annotated[
        Reference | None, Field(description="JSONL for validation: a path relative to this file, or a file id.")
    ] = None
    suffix: Annotated[
        Annotated[str, Field(min_length=1, max_length=64), OneLine] | None,
        Field(description="Becomes part of the model's name."),
    ] = None
    seed: Annotated[Seed | None, Field(description="Makes a run repeatable, as far as the server can.")] = None
    method: Annotated[Method, Field(description="How to train; supervised unless told.")] = Method(type="supervised")
    integrations: Annotated[
        list[Integration], Field(max_length=5, description="Services that are told about the run.")
    ] = []
    metadata: Annotated[
        dict[
            Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_not_reserved)],
            Annotated[MetadataValue, OneLine, Text],
        ],
        Field(max_length=13, description="Labels of the job. They may change without a new run."),
    ] = {}
    state: Annotated[State, Field(description="What the job should be doing.")] = "running"
    replace: Annotated[
        Replace, Field(description="What happens to an active job of another revision: cancel it, or wait for its end.")
    ] = "cancel"
    retry: Annotated[Retry, Field(description="Further attempts after transient failures.")] = Retry()
    protect: Annotated[
        bool, Field(description="true: the job is never cancelled or replaced."), BeforeValidator(_flag)
    ] = False
    priority: Annotated[
        int,
        Field(ge=-1000, le=1000, description="Who goes first where max_active is reached; higher is earlier."),
        Whole,
    ] = 0
    rerun: Annotated[
        Annotated[str, Field(min_length=1, max_length=256), OneLine] | None,
        Field(description="Any text; a new one buys another run of the same settings."),
        Text,
    ] = None
    adopt: Annotated[AdoptJob | None, Field(description="Bind a job made elsewhere to this spec.")] = None
    permissions: Annotated[
        list[Annotated[str, Field(pattern=_PROJECT)]],
        Field(max_length=100, description="Projects (proj_...) that may use the resulting model."),
    ] = []

    def canonical_method(self) -> dict[str, Any]:
        """Return the method with its type, and without what is left to the server: auto, null, empty."""
        settings = self.method.settings
        body: dict[str, Any] = settings.model_dump(exclude_none=True) if settings else {}
        chosen = {key: value for key, value in body.pop("hyperparameters", {}).items() if value != "auto"}
        if chosen:
            body["hyperparameters"] = chosen
        return {"type": self.method.type, self.method.type: body} if body else {"type": self.method.type}


@dataclass(slots=True)
class Canonical:
    """A spec rewritten as a create body.

    ``moved`` maps where a value is now to where the file has it; ``faults`` are (path in the file, message).
    """

    body: dict[str, Any]
    moved: dict[Path, Path] = field(default_factory=dict)
    faults: list[tuple[Path, str]] = field(default_factory=list)

    def as_written(self, path: Path) -> Path:
        """Translate a path of the body into one of the file."""
        for now, before in self.moved.items():
            if path[: len(now)] == now:
                return before + path[len(now) :]
        return path


def canonical(raw: Mapping[str, Any]) -> Canonical:
    """Rewrite the flat form as a create body; a create body stays as it is."""
    result = Canonical({key: value for key, value in raw.items() if not (key in FLAT or value is None)})
    for required in ("name", "model", "training_file"):
        if raw.get(required, "") is None:
            result.body[required] = None
    flat = {key: raw[key] for key in FLAT if raw.get(key) is not None}
    _move_wandb(flat, result)
    _move_method(flat, result)
    return result


def _move_wandb(flat: dict[str, Any], result: Canonical) -> None:
    if "wandb" not in flat:
        return
    if "integrations" in result.body:
        result.faults.append((("wandb",), "is the short form of one integration; put it into integrations"))
        return
    result.body["integrations"] = [{"type": "wandb", "wandb": flat["wandb"]}]
    result.moved["integrations", 0, "wandb"] = ("wandb",)


def _move_method(flat: dict[str, Any], result: Canonical) -> None:
    method = result.body.get("method", "supervised")
    settings = {key: value for key, value in flat.items() if key != "wandb"}
    if isinstance(method, dict):
        kind = method.get("type")
        home = f"method.{kind}" if isinstance(kind, str) else "method"
        result.faults += [((key,), f"is given beside a method in full; move it into {home}") for key in settings]
        return
    if not isinstance(method, str):
        result.faults.append((("method",), f"must be {' or '.join(HYPERPARAMETERS)}, or a mapping with its type"))
        del result.body["method"]
        return
    if method != "reinforcement":
        for key in settings.keys() & {"grader", "response_format"}:
            result.faults.append(((key,), f"belongs to method reinforcement only, and this one is {method}"))
            del settings[key]
    result.body["method"] = {"type": method}
    result.moved["method", "type"] = ("method",)
    if method in HYPERPARAMETERS and (settings or method == "reinforcement"):
        result.body["method"][method] = settings
        result.moved["method", method] = ()


FILE_ID = re.compile(r"file-[A-Za-z0-9_-]+")
"""A training file that is already on the server."""
