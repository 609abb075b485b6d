"""A spec file as all spec files look: keys in the order of the documentation, no blanks at line ends. Pure.

Whole lines are moved and trimmed, and nothing inside them is written anew, so that comments, quotes and anchors stay
by construction. The result is read again: where it would say anything else, less is done.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from reconciler.errors import SpecError
from reconciler.spec import documents
from reconciler.spec.documents import Document

ORDER = (
    "name", "model", "training_file", "validation_file", "suffix", "seed", "method", "hyperparameters", "matrix",
    "grader", "response_format", "integrations", "wandb", "metadata", "state", "replace", "retry", "protect",
    "priority", "rerun", "adopt", "permissions",
)  # fmt: skip
"""The order of keys, as the guide of specs has it."""

_MARKER = re.compile(r"(?:---|\.\.\.)(?:\s|$)")
_RANK = {key: rank for rank, key in enumerate(ORDER)}


def tidied(data: bytes, file: str) -> bytes:
    """Return the file as it should look: the same values, in the same documents. Tidying twice changes nothing more.

    Comments right above a key move with it; those at the head of a document stay there.

    Raises:
        SpecError: the file is no YAML 1.2, or holds what no spec file may.
    """
    found = documents.read(file, data)
    values = [document.value() for document in found]
    text = data.decode().removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    for result in (_trimmed(_ordered(text, found)), _trimmed(text), text):
        if _reads_as(result.encode(), file, values):
            return result.encode()
    return data


def _reads_as(data: bytes, file: str, values: list[object]) -> bool:
    try:
        return [document.value() for document in documents.read(file, data)] == values
    except SpecError:
        return False


def _trimmed(text: str) -> str:
    """Return lines without blanks at their ends, never two empty ones in a row, and one line break at the end."""
    kept: list[str] = []
    for line in map(str.rstrip, text.split("\n")):
        if line or (kept and kept[-1]):
            kept.append(line)
    return "\n".join(kept).rstrip("\n") + "\n" if any(kept) else ""


def _ordered(text: str, found: Sequence[Document]) -> str:
    lines = text.split("\n")
    for document in found:
        starts = _key_lines(document)
        if starts:
            end = next((n for n in range(starts[-1][0], len(lines)) if _MARKER.match(lines[n])), len(lines))
            blocks = list(_blocks(lines, starts, end))
            first = blocks[0][1]
            blocks.sort(key=lambda block: _RANK.get(block[0], len(_RANK)))
            moved = [line for _, start, stop in blocks for line in lines[start:stop]]
            lines[first : first + len(moved)] = moved
    return "\n".join(lines)


def _key_lines(document: Document) -> list[tuple[int, str]]:
    """Return the lines, from 0, where the keys of the document begin; none where they do not all have their own."""
    keys = document.tree.place.keys
    lines = sorted((line - 1, key) for key, (line, column) in keys.items() if column == 1)
    own = len({line for line, _ in lines}) == len(keys)
    return lines if own else []


def _blocks(lines: Sequence[str], starts: Sequence[tuple[int, str]], end: int) -> Iterator[tuple[str, int, int]]:
    """Yield each key with its lines; a comment in the first column belongs to the key below it."""
    tail = _above(lines, end, starts[-1][0] + 1)
    begins = [starts[0][0], *(_above(lines, line, before + 1) for (before, _), (line, _) in pairwise(starts)), tail]
    for number, (_, key) in enumerate(starts):
        yield key, begins[number], begins[number + 1]


def _above(lines: Sequence[str], line: int, least: int) -> int:
    """Return where the comments and empty lines right above a line begin."""
    while line > least and (not lines[line - 1].strip() or lines[line - 1].startswith("#")):
        line -= 1
    return line
