"""Files, their uploads in parts, and models."""

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


class Upload(Answer):
    """A file that comes in parts. ``file`` is there once it is completed; ``expires_at`` is in Unix seconds."""

    id: str
    object: str = "upload"
    expires_at: int
    status: str
    file: FileObject | None = None


class UploadPart(Answer):
    """A part of an upload."""

    id: str
    object: str = "upload.part"


class ModelObject(Answer):
    """A model that can be used or fine-tuned."""

    id: str
    object: str = "model"
    created: int | None = None
    owned_by: str | None = None
