"""Models: base models, and those that were made here."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from reconciler.server import documents, leftovers, operations
from reconciler.server.problems import Problem, not_found
from reconciler.server.routes.shared import Here, answer
from reconciler.server.schemas import Deleted, ErrorAnswer, ModelAnswer, ModelListing

router = APIRouter(prefix="/models", tags=["models"])


@router.get("", response_model=ModelListing)
def list_models(here: Here) -> Response:
    """List the base models and all that were made here."""
    with here.store.read() as db:
        texts = operations.list_models(db, here.engine.trainer.bases)
    return answer(f'{{"object":"list","data":[{",".join(texts)}]}}')


@router.get("/{model:path}", response_model=ModelAnswer)
def retrieve_model(here: Here, model: str) -> Response:
    """Show a model."""
    with here.store.read() as db:
        found = operations.find_model(db, model, here.engine.trainer.bases)
    if found is None:
        raise not_found("model", model, "model")
    return answer(found)


@router.delete(
    "/{model:path}",
    response_model=Deleted,
    responses={
        403: {"model": ErrorAnswer, "description": "A base model stays."},
        409: {"model": ErrorAnswer, "description": "A job starts from it."},
    },
)
def delete_model(here: Here, model: str) -> Response:
    """Delete a model that was made here, or a checkpoint's, unless an unfinished job starts from it."""
    trainer = here.engine.trainer
    try:
        with here.store.write() as db:
            operations.delete_model(db, model, trainer.bases)
    except Problem:
        leftovers.sweep_weights(here.store, trainer, model)  # of a deletion that did not come to its end
        raise
    trainer.delete(model)
    return answer(documents.deleted(model, "model"))
