"""A store, and the whole application on it, called in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from serving import SETTINGS, Engines, Serve, story, trained

from reconciler.server.app import create_app
from reconciler.server.context import Settings
from reconciler.server.engine import Engine
from reconciler.server.store import Store
from reconciler.server.trainers.simulated import SimulatedTrainer


@contextmanager
def application(
    directory: Path, speed: float, settings: Settings | None, clock: Callable[[], float]
) -> Iterator[TestClient]:
    store = Store(directory)
    engine = Engine(store, SimulatedTrainer(speed=speed))
    engine.start()
    try:
        with TestClient(create_app(store, engine, settings, clock=clock), base_url="http://test/v1/") as client:
            yield client
    finally:
        engine.stop()
        store.close()


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(
            directory: Path,
            *,
            speed: float = 100.0,
            settings: Settings | None = None,
            clock: Callable[[], float] = time.time,
        ) -> TestClient:
            return stack.enter_context(application(directory, speed, settings, clock))

        yield start


@pytest.fixture
def client(serve: Serve, tmp_path: Path) -> TestClient:
    return serve(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.close()


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[Engines]:
    engines = Engines(tmp_path)
    yield engines
    for engine, _ in list(engines.running):
        engines.end(engine)


@pytest.fixture
def unbroken(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The story of a job that nothing interrupted."""
    client = serve(tmp_path_factory.mktemp("unbroken"))
    return story(client, trained(client, **SETTINGS))
