"""The variables that GitHub would hand to this repository's action, read from workflows: as much of it as they use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from program import ROOT
from ruamel.yaml import YAML

Secrets = Mapping[str, Mapping[str, str]]
"""By environment (empty: the repository's own): the secrets that a job in it may read."""


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    return document


def steps(workflow: Path, secrets: Secrets) -> Iterator[dict[str, str]]:
    """Yield what each run of the action in a workflow finds in its environment, in order."""
    action = read(ROOT / "action.yml")
    [wiring] = [step for step in action["runs"]["steps"] if step.get("id") == "reconciler"]
    for job in read(workflow)["jobs"].values():
        known = {**secrets.get("", {}), **secrets.get(job.get("environment", ""), {})}
        for matrix in _combinations(job.get("strategy", {}).get("matrix", {})):
            [step] = [step for step in job["steps"] if "reconciler@" in step["uses"]]
            contexts = {"secrets": known, "matrix": matrix, "github": {"token": ""}}
            assert set(step["with"]) <= set(action["inputs"])
            env = {name: _filled(text, contexts) for name, text in step["env"].items()}
            defaults = {name: declared.get("default", "") for name, declared in action["inputs"].items()}
            inputs = {**defaults, **{name: _filled(text, contexts) for name, text in step["with"].items()}}
            wired = {name: _filled(text, {"inputs": inputs, "env": env}) for name, text in wiring["env"].items()}
            yield {**env, **{name: value for name, value in wired.items() if name != "GITHUB_TOKEN"}}


def _combinations(matrix: Mapping[str, list[str]]) -> Iterator[dict[str, str]]:
    for values in product(*matrix.values()):
        yield dict(zip(matrix, values, strict=True))


def _filled(text: object, contexts: Mapping[str, Mapping[str, str]]) -> str:
    if isinstance(text, bool):
        return str(text).lower()

    def value(match: re.Match[str]) -> str:
        places = (place.strip().partition(".") for place in match[1].split("||"))
        found = (contexts.get(context, {}).get(name, "") for context, _, name in places)
        return next(filter(None, found), "")

    return re.sub(r"\$\{\{(.*?)\}\}", value, str(text))
