"""The life of a job, as a pure state machine, and the rules by which a server fills in what was left open.

::

    status              cancel      pause     resume    the engine
    validating_files    cancelled   -         -         queued (data is good), failed
    queued              cancelled   -         -         running, failed
    running             cancelled   paused    -         succeeded, failed
    paused              cancelled   -         queued
    succeeded, failed, cancelled: final
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Literal

from reconciler.api.types import TERMINAL, MethodType

Verb = Literal["cancel", "pause", "resume"]

OWNER, NAME, REVISION = "reconciler.owner", "reconciler.name", "reconciler.revision"
"""The keys in a job's metadata of whose it is, of its spec, and of what that said."""

UNFINISHED = ("validating_files", "queued", "running", "paused")
"""Every status of a job that may still train."""

_BY_REQUEST: Mapping[tuple[str, Verb], str] = {
    ("validating_files", "cancel"): "cancelled",
    ("queued", "cancel"): "cancelled",
    ("running", "cancel"): "cancelled",
    ("paused", "cancel"): "cancelled",
    ("running", "pause"): "paused",
    ("paused", "resume"): "queued",
}

_BY_ENGINE = frozenset(
    {
        ("validating_files", "queued"),
        ("validating_files", "failed"),
        ("queued", "running"),
        ("queued", "failed"),
        ("running", "succeeded"),
        ("running", "failed"),
    }
)

_ONLY = {"pause": "running", "resume": "paused"}


class Refused(ValueError):
    """The job's status does not allow this; the message says which would."""


def act(status: str, verb: Verb) -> str:
    """Return the status that a request leads to.

    Raises:
        Refused: the status does not allow it.
    """
    following = _BY_REQUEST.get((status, verb))
    if following is None:
        why = f"only a {_ONLY[verb]} job can be {verb}d" if verb in _ONLY else "it has already ended"
        raise Refused(f"The job is {status}, so it cannot be {_past(verb)}: {why}.")
    return following


def allowed(status: str) -> tuple[Verb, ...]:
    """Return what may be asked of a job of this status."""
    return tuple(verb for known, verb in _BY_REQUEST if known == status)


def _past(verb: Verb) -> str:
    return "cancelled" if verb == "cancel" else f"{verb}d"


def advance(status: str, following: str) -> str:
    """Return ``following`` where the engine may move a job there.

    Raises:
        Refused: it may not.
    """
    if (status, following) not in _BY_ENGINE:
        raise Refused(f"A job that is {status} cannot become {following}.")
    return following


def is_final(status: str) -> bool:
    """Whether a job of this status never changes again."""
    return status in TERMINAL


# Hyperparameters

_TARGET_ROWS = (100, 25_000)
_DEFAULTS: Mapping[MethodType, Mapping[str, Any]] = {
    "supervised": {"learning_rate_multiplier": 1.8},
    "dpo": {"learning_rate_multiplier": 1.0, "beta": 0.1},
    "reinforcement": {
        "learning_rate_multiplier": 1.0,
        "reasoning_effort": "default",
        "compute_multiplier": 1.0,
        "eval_interval": 5,
        "eval_samples": 1,
    },
}


def auto_epochs(rows: int) -> int:
    """Three epochs; more (up to 25) until 100 rows are seen, fewer (down to 1) once 25,000 would be."""
    least, most = _TARGET_ROWS
    if rows * 3 < least:
        return min(25, max(1, least // max(rows, 1)))
    return max(1, most // rows) if rows * 3 > most else 3


def auto_batch_size(rows: int) -> int:
    """A fiftieth of the rows, 1 to 256: about fifty steps an epoch."""
    return min(256, max(1, rows // 50))


def unresolved(method: MethodType, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters of a new job: what was given, and ``auto`` for all else of its method."""
    names = ["n_epochs", "batch_size", *_DEFAULTS[method]]
    auto = {name: "default" if name == "reasoning_effort" else "auto" for name in names}
    return auto | {name: value for name, value in given.items() if value is not None}


def resolve(method: MethodType, hyperparameters: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """Replace every ``auto`` by the number chosen for this many training rows."""
    chosen = {"n_epochs": auto_epochs(rows), "batch_size": auto_batch_size(rows), **_DEFAULTS[method]}
    return {name: chosen[name] if value == "auto" else value for name, value in hyperparameters.items()}


# Models

ALIASES: Mapping[str, str] = {
    "gpt-3.5-turbo": "gpt-3.5-turbo-0125",
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "gpt-4.1-nano": "gpt-4.1-nano-2025-04-14",
    "o4-mini": "o4-mini-2025-04-16",
}
"""Model names that stand for a dated snapshot."""

WELL_KNOWN = sorted({*ALIASES, *ALIASES.values()})
"""Base models that are listed where a trainer has no list of its own."""

_BASE = re.compile(r"(?!ft:)[A-Za-z0-9][A-Za-z0-9._/@+-]{0,199}")
_ORGANIZATION = "local"


def is_base_name(name: str) -> bool:
    """Whether this can be the name of a base model (every other name must belong to a model made here)."""
    return _BASE.fullmatch(name) is not None


def base_of(model: str) -> str:
    """Return the base model under a fine-tuned model, its checkpoint, or a base model itself."""
    return model.split(":")[1] if model.startswith("ft:") else model


def model_name(base: str, suffix: str | None, job_id: str) -> str:
    """Name the model a job makes: ``ft:BASE:ORG:SUFFIX:ID``, the suffix in lower case with hyphens."""
    clean = re.sub(r"[^a-z0-9._-]+", "-", (suffix or "").lower()).strip("-")
    return f"ft:{base_of(base)}:{_ORGANIZATION}:{clean}:{job_id[-8:]}"


def checkpoint_name(model: str, step: int) -> str:
    """Name the model of a checkpoint."""
    return f"{model}:ckpt-step-{step}"


def derived_id(prefix: str, *parts: object) -> str:
    """An id that follows from what it is for, so that work done twice makes the same thing, not a second one."""
    digest = hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()
    return f"{prefix}{digest[:24]}"
