"""Files and models."""

from __future__ import annotations

from reconciler.api.types.base import Answer


class FileObject(Answer):
    """A file as a server shows it. ``bytes`` is its size; ``status`` is an open string."""

    id: str
    object: str = "file"
    bytes: int | None = None
    created_at: int
    filename: str
    purpose: str | None = None
    status: str | None = None
    status_details: str | None = None
    expires_at: int | None = None


class ModelObject(Answer):
    """A model that can be used or fine-tuned."""

    id: str
    object: str = "model"
    created: int | None = None
    owned_by: str | None = None
