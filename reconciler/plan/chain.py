"""Where a job's base model comes from: named outright, or what another spec produced. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reconciler.api.types import Checkpoint
from reconciler.observe.state import Observed, ObservedJob
from reconciler.plan.words import short, time_left
from reconciler.spec.desired import Upstream

_MEASURES = (
    ("full_valid_reward_mean", max, "highest validation reward"),
    ("valid_reward_mean", max, "highest validation reward"),
    ("train_reward_mean", max, "highest training reward"),
    ("full_valid_loss", min, "lowest validation loss"),
    ("valid_loss", min, "lowest validation loss"),
    ("train_loss", min, "lowest training loss"),
)
"""By what checkpoints are compared: the first that any of them shows. Where there are rewards, training is towards
them, and the loss says nothing."""


@dataclass(frozen=True, slots=True)
class Base:
    """The base model of a job to come.

    ``ready`` has a ``model``; ``waits`` and ``blocked`` say why in ``reason``. ``note`` says how a checkpoint was
    chosen.
    """

    kind: Literal["ready", "waits", "blocked"]
    model: str | None = None
    reason: str = ""
    note: str = ""


def resolve(upstream: Upstream, job: ObservedJob, observed: Observed, now: float) -> Base:
    """Find the model that ``upstream`` names, given the job that counts for it."""
    name = upstream.job
    if job.active:
        return Base("waits", reason=f"waits for the model of {name}: {job.id} is {job.status}{time_left(job, now)}")
    if job.status != "succeeded":
        why = f": {job.error_message}" if job.error_message else ""
        return Base("blocked", reason=f"its base {name} has no model: {job.id} {job.status}{why}")
    if upstream.checkpoint == "last":
        return _model(job.fine_tuned_model, f"{name}: {job.id} succeeded but names no model")
    return _checkpoint(upstream, job, observed.checkpoints.get(job.id, ()))


def _model(model: str | None, missing: str, note: str = "") -> Base:
    return Base("ready", model=model, note=note) if model else Base("blocked", reason=missing)


def _checkpoint(upstream: Upstream, job: ObservedJob, checkpoints: Sequence[Checkpoint]) -> Base:
    if upstream.checkpoint == "best":
        best = best_checkpoint(checkpoints)
        if best is None:
            missing = f"{upstream.job}: no checkpoint of {job.id} shows a reward or a loss to choose by"
            return Base("blocked", reason=missing)
        chosen, value, words = best
        note = f"best checkpoint of {upstream.job}: step {chosen.step_number}, {words} {value:.4g}"
        return Base("ready", model=chosen.fine_tuned_model_checkpoint, note=note)
    for checkpoint in checkpoints:
        if checkpoint.step_number == upstream.checkpoint:
            return Base("ready", model=checkpoint.fine_tuned_model_checkpoint)
    steps = ", ".join(str(c.step_number) for c in checkpoints) or "none"
    return Base(
        "blocked", reason=f"{upstream.job}: {job.id} has no checkpoint at step {upstream.checkpoint}; it has {steps}"
    )


def best_checkpoint(checkpoints: Sequence[Checkpoint]) -> tuple[Checkpoint, float, str] | None:
    """Choose the checkpoint with the highest reward, or the lowest loss where there are none; the latest of equals.

    What was measured on the validation file counts more than what training showed. What is no number (training
    diverged) is none.

    Returns:
        The checkpoint, what decided, and what that is in words; None where no checkpoint shows any.
    """
    for key, best, words in _MEASURES:
        scored = [
            (value, c) for c in checkpoints if (value := getattr(c.metrics, key)) is not None and math.isfinite(value)
        ]
        if scored:
            value = best(value for value, _ in scored)
            chosen = max((c for v, c in scored if v == value), key=lambda c: c.step_number)
            return chosen, value, words
    return None


def describe(model: str | Upstream, revision: str | None = None) -> str:
    """Name a base model in a diff."""
    if isinstance(model, str):
        return model
    of = f" at {short(revision)}" if revision else ""
    return f"{model.job} ({model.checkpoint}{of})"
