"""Uploads in parts and permissions of checkpoints, through the ``openai`` client in strict response validation."""

from __future__ import annotations

import hashlib
from pathlib import Path

import openai
import pytest
from contract_support import KEY, Work, jsonl

from reconciler.api.client import Client
from reconciler.api.files import Uploads
from reconciler.api.server import Server
from reconciler.api.uploads import Parts
from reconciler.spec.desired import DataFile


def test_a_file_uploaded_in_chunks_can_be_trained_on(work: Work, tmp_path: Path) -> None:
    content = jsonl("supervised", 200)
    path = tmp_path / "big.jsonl"
    path.write_bytes(content)
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    done = work.client.uploads.upload_file_chunked(
        file=path, mime_type="application/jsonl", purpose="fine-tune", part_size=10_000, md5=md5
    )
    assert (done.status, done.bytes, done.filename) == ("completed", len(content), "big.jsonl")
    assert done.file is not None
    assert work.client.files.retrieve(done.file.id) == done.file
    assert work.client.files.content(done.file.id).read() == content
    assert work.reach(work.create(training_file=done.file.id).id, "succeeded").fine_tuned_model


def test_an_upload_is_cancelled(work: Work) -> None:
    uploads = work.client.uploads
    begun = uploads.create(bytes=100, filename="a.jsonl", mime_type="application/jsonl", purpose="fine-tune")
    part = uploads.parts.create(begun.id, data=b"x" * 100)
    assert part.upload_id == begun.id
    assert uploads.cancel(begun.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError, match="cancelled"):
        uploads.complete(begun.id, part_ids=[part.id])
    with pytest.raises(openai.BadRequestError, match="cancelled"):
        uploads.parts.create(begun.id, data=b"x")


@pytest.mark.parametrize("projects", [[], ["nobody"], ["proj_" + "x" * 200], ["proj_a b"]])
def test_what_is_no_project_is_refused(work: Work, projects: list[str]) -> None:
    model = work.trained().fine_tuned_model or ""
    with pytest.raises(openai.BadRequestError):
        work.client.fine_tuning.checkpoints.permissions.create(model, project_ids=projects)


def test_a_base_model_has_no_permissions(work: Work) -> None:
    with pytest.raises(openai.NotFoundError):
        work.client.fine_tuning.checkpoints.permissions.create("gpt-4o-mini-2024-07-18", project_ids=["proj_a"])


async def test_our_client_sends_a_large_file_that_the_openai_client_reads(
    work: Work, server: str, tmp_path: Path
) -> None:
    content = jsonl("supervised", 300)
    (tmp_path / "big.jsonl").write_bytes(content)
    data = DataFile("big.jsonl", hashlib.sha256(content).hexdigest(), len(content), 300)
    async with Client(Server("contract", server, KEY)) as client:
        file_id = await Uploads(client, tmp_path, cut=Parts(threshold=1, size=10_000)).ensure(data)
        assert await Uploads(client, tmp_path).ensure(data) == file_id
    assert work.client.files.retrieve(file_id).filename == f"big.{data.digest[:16]}.jsonl"
    assert work.client.files.content(file_id).read() == content
