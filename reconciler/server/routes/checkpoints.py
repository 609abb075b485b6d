"""Permissions of checkpoints: which projects may use a model that was made here."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field, StringConstraints

from reconciler.api.types import Request as Body
from reconciler.server import documents, permissions
from reconciler.server.jobs import Page
from reconciler.server.routes.shared import After, Here, Limit, answer, known_cursor
from reconciler.server.schemas import Deleted, EdgedListing, PermissionAnswer

router = APIRouter(
    prefix="/fine_tuning/checkpoints/{fine_tuned_model_checkpoint:path}/permissions", tags=["fine-tuning"]
)

_MOST_PROJECTS = 100


class CreatePermissions(Body):
    """The projects that are to be let in."""

    project_ids: Annotated[
        list[Annotated[str, StringConstraints(pattern=r"^proj_[A-Za-z0-9_-]{1,100}$")]],
        Field(min_length=1, max_length=_MOST_PROJECTS),
    ]


@router.post("", response_model=EdgedListing[PermissionAnswer])
def create_permissions(here: Here, fine_tuned_model_checkpoint: str, body: CreatePermissions) -> Response:
    """Let projects use a checkpoint. One that may already keeps the permission that it has."""
    with here.store.write() as db:
        permissions.check_model(db, fine_tuned_model_checkpoint)
        granted = permissions.grant(db, fine_tuned_model_checkpoint, body.project_ids, now=here.clock())
    return _listed(Page(granted, has_more=False))


@router.get("", response_model=EdgedListing[PermissionAnswer])
def list_permissions(
    here: Here,
    fine_tuned_model_checkpoint: str,
    after: After = None,
    limit: Limit = 10,
    order: Literal["ascending", "descending"] = "descending",
    project_id: Annotated[str | None, Query(description="Only this project's.")] = None,
) -> Response:
    """List the permissions of a checkpoint, newest first unless told."""
    with known_cursor(), here.store.read() as db:
        permissions.check_model(db, fine_tuned_model_checkpoint)
        page = permissions.page(
            db, fine_tuned_model_checkpoint, limit=limit, after=after, project=project_id, order=order
        )
    return _listed(page)


def _listed(page: Page) -> Response:
    return answer(documents.page(page.texts, has_more=page.has_more, ends=permissions.ends(page)))


@router.delete("/{permission_id}", response_model=Deleted)
def delete_permission(here: Here, fine_tuned_model_checkpoint: str, permission_id: str) -> Response:
    """Take a permission back."""
    with here.store.write() as db:
        permissions.revoke(db, fine_tuned_model_checkpoint, permission_id)
    return answer(documents.deleted(permission_id, "checkpoint.permission"))
