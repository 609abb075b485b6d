"""The embedded server in a process of its own on loopback, with the clients that speak to it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import openai
import pytest
from contract_support import KEY, Work, running_server, work_on


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_server(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture(scope="session")
def work(server: str) -> Iterator[Work]:
    with work_on(server) as work:
        yield work


@pytest.fixture(scope="session")
def client(work: Work) -> openai.OpenAI:
    return work.client


@pytest.fixture(scope="session")
def http(server: str) -> Iterator[httpx.Client]:
    """Bare HTTP, for what no well-behaved client would send."""
    with httpx.Client(base_url=server, headers={"Authorization": f"Bearer {KEY}"}, timeout=30) as bare:
        yield bare
