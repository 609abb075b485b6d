"""What the routes share."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fastapi import FastAPI, Request
from starlette.types import ASGIApp

from reconciler.server.engine import Engine
from reconciler.server.graders.grading import Graders
from reconciler.server.graders.settings import GraderSettings
from reconciler.server.store import Store
from reconciler.server.trainers.base import Placement

if TYPE_CHECKING:
    from reconciler.server.chaos.rules import Chaos
    from reconciler.server.webhooks import Endpoint


class Front(Protocol):
    """Answers some requests before the API does. ``close`` ends answers that would not end by themselves."""

    def beside(self, app: ASGIApp) -> ASGIApp:
        """Return what answers all requests."""

    def close(self) -> None:
        """Let the server stop."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the server serves. Sizes are in bytes.

    ``api_key`` None lets everybody in; ``loopback`` refuses requests to any name but this machine's own.
    ``instance`` tells one start of a server from another. ``graders`` says which may run, ``models`` names the
    trainer's catalogue, None for the usual one, ``placement`` where it trains and ``track`` what shows its runs.
    ``webhook`` is told how jobs end. ``logs`` is for a process of its own: in its client's, that logs requests.
    ``chaos`` makes it misbehave, for tests. ``front`` makes what is served beside the API, of it.
    """

    api_key: str | None = field(default=None, repr=False)
    loopback: bool = False
    max_file: int = 512 * 1024 * 1024
    max_upload: int = 8 * 1024 * 1024 * 1024
    max_part: int = 64 * 1024 * 1024
    max_body: int = 4 * 1024 * 1024
    max_unfinished: int = 10_000
    instance: str = field(default_factory=lambda: secrets.token_hex(16))
    graders: GraderSettings = field(default_factory=GraderSettings)
    models: Path | None = None
    placement: Placement = field(default_factory=Placement)
    track: Sequence[str] = ()
    webhook: Endpoint | None = None
    logs: bool = False
    chaos: Chaos | None = None
    front: Callable[[FastAPI], Front] | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """The parts that answer requests. ``clock`` gives Unix seconds."""

    store: Store
    engine: Engine
    settings: Settings
    graders: Graders
    clock: Callable[[], float] = time.time


async def context(request: Request) -> Context:
    """Find the application's parts, for a route."""
    found: Context = request.app.state.context
    return found
