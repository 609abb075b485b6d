"""A work tree in a directory of its own, and a clock that stands still."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from watch_support import Tree


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    """Make a tree with settings and data, and no spec."""
    made = Tree(tmp_path)
    yield made
    made.close()
