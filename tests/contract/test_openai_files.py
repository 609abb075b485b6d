"""Files through the ``openai`` client in strict response validation."""

from __future__ import annotations

import hashlib

import openai
import pytest
from contract_support import Work, jsonl


def test_a_file_is_uploaded_found_read_and_deleted(work: Work) -> None:
    files = work.client.files
    content = jsonl("supervised", 12)
    made = work.upload_bytes(content, "sums.jsonl")
    assert (made.filename, made.bytes, made.purpose, made.status) == (
        "sums.jsonl",
        len(content),
        "fine-tune",
        "processed",
    )
    assert files.retrieve(made.id) == made
    assert files.content(made.id).read() == content
    assert made.id in [listed.id for listed in files.list(purpose="fine-tune")]
    assert files.delete(made.id).deleted
    for call in (files.retrieve, files.content, files.delete):
        with pytest.raises(openai.NotFoundError):
            call(made.id)
    assert made.id not in [listed.id for listed in files.list()]


def test_listing_pages_through_every_file_once_in_either_order(work: Work) -> None:
    made = [work.upload_bytes(jsonl("supervised", 10 + number), f"page-{number}.jsonl").id for number in range(7)]
    newest_first = [file.id for file in work.client.files.list(limit=2) if file.id in made]
    oldest_first = [file.id for file in work.client.files.list(limit=3, order="asc") if file.id in made]
    assert newest_first == made[::-1]
    assert oldest_first == made


def test_listing_by_purpose_leaves_the_others_out(work: Work) -> None:
    trained = work.trained()
    purposes = {file.purpose for file in work.client.files.list(purpose="fine-tune")}
    assert purposes == {"fine-tune"}
    assert trained.result_files[0] in [file.id for file in work.client.files.list(purpose="fine-tune-results")]


def test_a_large_file_comes_back_byte_for_byte(work: Work) -> None:
    content = jsonl("supervised", 60_000)
    assert len(content) > 8_000_000
    made = work.upload_bytes(content)
    assert made.bytes == len(content)
    back = hashlib.sha256()
    with work.client.files.with_streaming_response.content(made.id) as answer:
        for part in answer.iter_bytes():
            back.update(part)
    assert back.digest() == hashlib.sha256(content).digest()
    work.client.files.delete(made.id)


def test_a_file_may_be_given_an_end(work: Work) -> None:
    made = work.client.files.create(
        file=("a.jsonl", jsonl("supervised", 10)),
        purpose="fine-tune",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert made.expires_at == made.created_at + 3600


@pytest.mark.parametrize(
    "name",
    [
        "../../outside.jsonl",
        "/etc/passwd",
        "C:\\Windows\\system.ini",
        "übung 日本.jsonl",
        "a" * 300 + ".jsonl",
        "two\nlines.jsonl",
        'quote".jsonl',
        "-rf.jsonl",
    ],
)
def test_a_hostile_file_name_stays_a_name(work: Work, name: str) -> None:
    """What is stored is found by its id alone."""
    content = jsonl("supervised", 10)
    made = work.client.files.create(file=(name, content), purpose="fine-tune")
    assert "/" not in made.filename
    assert "\\" not in made.filename
    assert made.filename not in {"", ".", ".."}
    assert work.client.files.content(made.id).read() == content
    assert work.client.files.delete(made.id).deleted
