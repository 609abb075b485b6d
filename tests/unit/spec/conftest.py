"""A repository in a directory of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from spec_support import ROW, Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write files below a root that has settings and ``data/train.jsonl``; returns the root."""

    def write_all(files: dict[str, str]) -> Path:
        given = {"reconciler.yaml": "owner: test\n", "data/train.jsonl": ROW * 10, **files}
        for name, text in given.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path

    return write_all
