"""The application without a store: the grader endpoints keep nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import cast

import pytest
from fastapi.testclient import TestClient

from reconciler.server.app import create_app
from reconciler.server.context import Settings
from reconciler.server.engine import Engine
from reconciler.server.graders.settings import GraderSettings
from reconciler.server.store import Store

Grading = Callable[[GraderSettings], TestClient]


@pytest.fixture(scope="module")
def grading() -> Iterator[Grading]:
    """Starts an application that allows its graders what it is told."""
    with ExitStack() as stack:

        def start(settings: GraderSettings) -> TestClient:
            app = create_app(cast("Store", None), cast("Engine", None), Settings(graders=settings))
            return stack.enter_context(TestClient(app, base_url="http://test/v1/"))

        yield start


@pytest.fixture(scope="module")
def client(grading: Grading) -> TestClient:
    return grading(GraderSettings())
