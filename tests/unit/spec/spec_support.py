"""Small specs, and how to load them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.errors import SpecError
from reconciler.spec.desired import Desired
from reconciler.spec.load import load

ROW = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'

Write = Callable[[dict[str, str]], Path]


def spec(name: str = "a", *lines: str, data: str = "data/train.jsonl", model: str = "m") -> str:
    """Write a spec with the fields that every spec has, and more lines."""
    return "\n".join([f"name: {name}", f"model: {model}", f"training_file: {data}", *lines, ""])


def desired(root: Path, *paths: str, environment: str | None = None) -> dict[str, Desired]:
    return {d.name: d for d in load(paths or (".",), cwd=root, environment=environment).desired}


def refused(root: Path, *paths: str, environment: str | None = None) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load(paths or (".",), cwd=root, environment=environment)
    return str(caught.value).splitlines()
