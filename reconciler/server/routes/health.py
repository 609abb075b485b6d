"""Whether the server works."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from reconciler import __version__
from reconciler.server.context import Context, context
from reconciler.server.problems import Problem
from reconciler.server.schemas import ErrorAnswer, Health

router = APIRouter()


@router.get("/healthz", response_model=Health, responses={503: {"model": ErrorAnswer}})
def healthz(here: Annotated[Context, Depends(context)]) -> dict[str, object]:
    """Say that the database answers and the engine works; 503 where either does not."""
    with here.store.read() as db:
        db.execute("SELECT 1 FROM lease").fetchone()
    if not here.engine.alive:
        raise Problem(503, "The engine has stopped; no job is trained.", code="engine_stopped")
    chaos = here.settings.chaos
    return {
        "status": "ok",
        "version": __version__,
        "instance": here.settings.instance,
        "training": here.engine.training,
        "chaos": chaos and chaos.report,
    }
