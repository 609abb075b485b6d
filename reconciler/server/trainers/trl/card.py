"""The card of a model that was made here: where it comes from, in the form that the Hugging Face hub reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.server import lifecycle
from reconciler.server.jobs import JobRow
from reconciler.server.trainers.trl.shelf import Made

MARK = "reconciler"
"""The key of a card's head by which a repository is known to hold what was made here; its value says what."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a model comes from: its weights, its job, the names of its data files, and its metrics."""

    made: Made
    job: JobRow
    files: Mapping[str, str]
    metrics: Mapping[str, float]

    @property
    def metadata(self) -> Mapping[str, str]:
        """The job's metadata, in which its owner, spec and revision stand."""
        return self.job.document["metadata"] or {}

    @property
    def spec(self) -> str | None:
        """The name of its spec, where it has one."""
        return self.metadata.get(lifecycle.NAME)

    @property
    def revision(self) -> str | None:
        """The revision of its spec."""
        return self.metadata.get(lifecycle.REVISION)

    @property
    def mark(self) -> Mapping[str, str | None]:
        """What a later export has to know of this one."""
        return {
            "spec": self.spec,
            "owner": self.metadata.get(lifecycle.OWNER),
            "revision": self.revision,
            "job": self.job.id,
        }


def card(what: Provenance, *, commit: str | None, parts: str) -> str:
    """Return the model card. ``parts`` is a sentence that says which file is what."""
    made, job = what.made, what.job.document
    head = {
        "license": (made.card.get("licence") or "unknown").lower(),
        "base_model": made.card.get("entry", {}).get("hub"),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["text-generation", made.card["method"]],
        MARK: {key: value for key, value in what.mark.items() if value},
    }
    facts = {
        "model": made.name,
        "base": f"{made.card['base']} ({made.card['source']})",
        "started from": made.card["started_from"],
        "job": what.job.id,
        "spec": what.spec,
        "owner": what.mark["owner"],
        "revision": what.revision,
        "commit": commit,
        "method": made.card["method"],
        "hyperparameters": ", ".join(f"{name} {value}" for name, value in made.card["hyperparameters"].items()),
        "seed": made.card["seed"],
        "step": made.step,
        "trained tokens": job["trained_tokens"],
        "training data": _data(what, "training_file", "training_sha256"),
        "validation data": _data(what, "validation_file", "validation_sha256"),
    }
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in head.items() if value), "---", ""]
    lines += [f"# {_cell(made.name)}", "", "| | |", "| --- | --- |"]
    lines += [f"| {key} | {_cell(value)} |" for key, value in facts.items() if value not in (None, "")]
    if what.metrics:
        lines += ["", "| metric | at this step |", "| --- | --- |"]
        lines += [f"| {_cell(key)} | {_cell(value)} |" for key, value in what.metrics.items() if key != "step"]
    return "\n".join([*lines, "", parts, ""])


def _data(what: Provenance, param: str, digest: str) -> str | None:
    sha256 = what.made.card[digest]
    return f"{what.files[param] or 'deleted'}, sha256 {sha256}" if sha256 else None


def _cell(value: Any) -> str:  # noqa: ANN401 - a fact of any type
    """Show a value in a cell: in code, so that nothing in it is markup."""
    text = str(value).replace("`", "'").replace("|", "\\|")
    return f"`{' '.join(text.split())}`"
