"""The application: the fine-tuning API's routes over a store and an engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from reconciler import __version__
from reconciler.server import problems
from reconciler.server.context import Context, Settings
from reconciler.server.engine import Engine
from reconciler.server.graders.grading import Graders
from reconciler.server.guard import Guard
from reconciler.server.routes import chat, checkpoints, files, graders, health, jobs, models, uploads
from reconciler.server.schemas import REFUSALS
from reconciler.server.store import Store


def create_app(
    store: Store, engine: Engine, settings: Settings | None = None, *, clock: Callable[[], float] = time.time
) -> FastAPI:
    """Make the ASGI application. Starting and stopping the engine, and closing the store, are the caller's."""
    settings = settings or Settings()
    app = FastAPI(
        title="Fine-tuning API",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
    )
    app.state.context = Context(store, engine, settings, Graders(settings.graders), clock)
    problems.install(app)
    for part in (jobs, graders, checkpoints, files, uploads, models, chat):
        app.include_router(part.router, prefix="/v1", responses=REFUSALS)
    app.include_router(health.router)
    if settings.chaos is not None:
        from reconciler.server.chaos.layer import ChaosLayer  # noqa: PLC0415 - for tests only

        app.add_middleware(ChaosLayer, chaos=settings.chaos, clock=clock)
    app.add_middleware(Guard, settings=settings)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Describe the API. The framework's own 422 never happens: a wrong request gets 400."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        for operations in document["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            document.get("components", {}).get("schemas", {}).pop(name, None)
        if app.state.context.settings.api_key is not None:
            document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{"key": []}]
        app.openapi_schema = document
    return app.openapi_schema
