"""Files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, BinaryIO, Literal

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from reconciler.server import documents, files, jobs
from reconciler.server.context import Context
from reconciler.server.documents import Document
from reconciler.server.problems import Problem, not_found
from reconciler.server.routes.shared import After, Here, answer, known_cursor
from reconciler.server.schemas import Deleted, EdgedListing, ErrorAnswer, FileAnswer
from reconciler.server.uploads import Form, pieces

router = APIRouter(prefix="/files", tags=["files"])

_CHUNK = 1 << 18
_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "additionalProperties": False,
                    "properties": {
                        "file": {"type": "string", "format": "binary", "minLength": 1},
                        "purpose": {"type": "string", "enum": list(files.PURPOSES)},
                        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
                        "expires_after[seconds]": {"type": "integer", "minimum": 3600, "maximum": 2592000},
                    },
                    "dependentRequired": {
                        "expires_after[anchor]": ["expires_after[seconds]"],
                        "expires_after[seconds]": ["expires_after[anchor]"],
                    },
                }
            }
        },
    }
}
_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}


@router.post("", response_model=FileAnswer, openapi_extra=_FORM)
async def create_file(here: Here, request: Request) -> Response:
    """Upload a file."""
    return answer(await _receive(here, request))


async def _receive(here: Context, request: Request) -> Document:
    with files.incoming(here.store) as target:
        form = Form(request.headers.get("content-type", ""), target, here.settings.max_file)
        async for piece in pieces(request.stream()):
            await to_thread.run_sync(form.feed, piece)
        upload = form.finish_upload()
        now = int(here.clock())
        document = documents.file(
            file_id=jobs.new_id("file-"),
            size=target.size,
            created_at=now,
            filename=upload.filename,
            purpose=upload.purpose,
            expires_at=None if upload.expires_after is None else now + upload.expires_after,
        )

        def store() -> None:
            stored = files.Stored(document, target.finish(document["id"]))
            with here.store.write() as db:
                files.insert(db, stored)

        await to_thread.run_sync(store)
    return document


@router.get("", response_model=EdgedListing[FileAnswer])
def list_files(
    here: Here,
    purpose: str | None = None,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
) -> Response:
    """List files, newest first unless told."""
    with known_cursor(), here.store.read() as db:
        page = files.page(db, limit=limit, after=after, purpose=purpose, order=order)
    first, last = (json.loads(page.texts[i])["id"] if page.texts else "" for i in (0, -1))
    return answer(documents.page(page.texts, has_more=page.has_more, ends=(first, last)))


@router.get("/{file_id}", response_model=FileAnswer)
def retrieve_file(here: Here, file_id: str) -> Response:
    """Show a file."""
    with here.store.read() as db:
        text = files.text(db, file_id)
    if text is None:
        raise not_found("file", file_id, "file_id")
    return answer(text)


@router.get("/{file_id}/content", responses=_CONTENT, response_class=Response)
def retrieve_content(here: Here, file_id: str) -> Response:
    """Send a file's bytes."""
    with here.store.read() as db:
        text = files.text(db, file_id)
    if text is None:
        raise not_found("file", file_id, "file_id")
    try:
        file = files.path(here.store, file_id).open("rb")
    except FileNotFoundError as error:
        raise not_found("file", file_id, "file_id") from error
    headers = {"Content-Length": str(json.loads(text)["bytes"])}
    return StreamingResponse(_chunks(file), media_type="application/octet-stream", headers=headers)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk


@router.delete(
    "/{file_id}", response_model=Deleted, responses={409: {"model": ErrorAnswer, "description": "A job needs it."}}
)
def delete_file(here: Here, file_id: str) -> Response:
    """Delete a file that no unfinished job needs."""
    with here.store.write() as db:
        if (job_id := jobs.uses_file(db, file_id)) is not None:
            raise Problem(
                409, f"{job_id} still needs this file; cancel it, or wait.", code="file_in_use", param="file_id"
            )
        if not files.delete(db, file_id):
            raise not_found("file", file_id, "file_id")
    files.path(here.store, file_id).unlink(missing_ok=True)
    return answer(documents.deleted(file_id, "file"))
