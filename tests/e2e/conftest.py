"""What several tests of pipelines need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from github import Stand, github


@pytest.fixture
def stand() -> Iterator[Stand]:
    """Return a stand-in for GitHub."""
    with github() as stand:
        yield stand
