"""The server for ``--server local``: one that already runs on the directory, else the application in this process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import FastAPI

from reconciler.server.app import create_app
from reconciler.server.context import Settings
from reconciler.server.engine import Engine
from reconciler.server.graders.settings import from_environment
from reconciler.server.presence import Presence
from reconciler.server.store import Store
from reconciler.server.trainers.base import Placement, TrainerOptions, load_trainer

IN_PROCESS_URL = "http://local.reconciler/v1"
_HEALTH_SECONDS = 10.0
"""A busy machine takes its time, and where nobody listens the answer comes at once."""
_HEALTH_BYTES = 65_536
DEFAULT_CONCURRENCY = 4
DEFAULT_TRAINER = "simulated"
TRAINER_VARIABLE = "RECONCILER_TRAINER"
MODELS_VARIABLE = "RECONCILER_MODELS"
EXECUTOR_VARIABLE = "RECONCILER_EXECUTOR"
GPUS_VARIABLE = "RECONCILER_GPUS"
RAY_VARIABLE = "RECONCILER_RAY_ADDRESS"
TRACK_VARIABLE = "RECONCILER_TRACK"


@dataclass(frozen=True, slots=True)
class LocalServer:
    """Where to send requests. ``app`` is the application to call in this process, None for one that runs elsewhere."""

    base_url: str
    api_key: str | None = field(default=None, repr=False)
    app: FastAPI | None = None


@contextlib.asynccontextmanager
async def open_local(
    directory: Path, *, concurrency: int = DEFAULT_CONCURRENCY, speed: float = 1.0
) -> AsyncIterator[LocalServer]:
    """Use the server of a directory, for as long as the block lasts.

    The environment names the trainer, its catalogue and where it trains, as for ``reconciler serve``.

    In this process the application trains in threads; at the end they save and stop, and the next command goes on.

    Raises:
        StoreError: the directory cannot be used.
        ReconcilerError: there is no such trainer, it cannot start, or the environment has wrong settings.
    """
    running = await asyncio.to_thread(find_running, directory)
    if running is not None:
        yield LocalServer(running.url, running.api_key)
        return
    models = os.environ.get(MODELS_VARIABLE)
    settings = Settings(
        graders=from_environment(os.environ),
        models=Path(models) if models else None,
        placement=Placement(
            executor=os.environ.get(EXECUTOR_VARIABLE) or "local",
            gpus=os.environ.get(GPUS_VARIABLE) or None,
            ray_address=os.environ.get(RAY_VARIABLE) or None,
        ),
        track=os.environ.get(TRACK_VARIABLE, "").split(),
    )
    trainer = os.environ.get(TRAINER_VARIABLE) or DEFAULT_TRAINER
    async with running_app(
        directory,
        concurrency=concurrency,
        speed=speed,
        trainer=trainer,
        settings=settings,
    ) as app:
        yield LocalServer(IN_PROCESS_URL, None, app)


@contextlib.asynccontextmanager
async def running_app(
    directory: Path,
    *,
    concurrency: int,
    speed: float,
    trainer: str,
    settings: Settings | None = None,
) -> AsyncIterator[FastAPI]:
    """Run an application with its store and engine, for as long as the block lasts."""
    settings = settings or Settings()
    options = TrainerOptions(
        directory, concurrency=concurrency, speed=speed, catalogue=settings.models, graders=settings.graders,
        placement=settings.placement, track=settings.track,
    )  # fmt: skip
    found = load_trainer(trainer, options)
    store = await asyncio.to_thread(Store, directory)
    engine = Engine(store, found, concurrency=concurrency)
    engine.start()
    try:
        yield create_app(store, engine, settings)
    finally:
        await asyncio.shield(asyncio.to_thread(_end, engine, store))


def _end(engine: Engine, store: Store) -> None:
    engine.stop()
    engine.trainer.close()
    store.close()


def find_running(directory: Path) -> Presence | None:
    """Return the server that runs on a directory, if it answers as the one that announced itself there."""
    presence = Presence.read(directory)
    return presence if presence is not None and is_running(presence) else None


def is_running(presence: Presence) -> bool:
    """Whether a server answers as the one that announced itself."""
    if not presence.url.startswith(("http://", "https://")):
        return False
    # Never through a proxy: what is asked for is on this machine, or bound to one of its addresses.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(presence.health_url, timeout=_HEALTH_SECONDS) as answer:
            health = json.loads(answer.read(_HEALTH_BYTES))
    except (OSError, ValueError):
        return False
    return isinstance(health, dict) and health.get("instance") == presence.instance
