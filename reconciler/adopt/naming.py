"""Names for jobs that never had one. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator

from reconciler.api.types import Job
from reconciler.observe.ownership import NAME
from reconciler.spec.model import MAX_NAME

_REST = re.compile(r"[^a-z0-9]+")
_DATE = re.compile(r"-\d{4}-\d{2}-\d{2}$|-\d{4}$")
_TAIL = 6


def name_for(job: Job, suffix: str | None, taken: Collection[str]) -> str:
    """Name a job after what it was made as, its suffix, its metadata's ``name``, or its base model.

    A name that is taken gets the end of the job's id, so that the same job is called the same next time.
    """
    metadata = job.metadata or {}
    base = job.model.removeprefix("ft:").partition(":")[0].rpartition("/")[2]
    sources = (metadata.get(NAME), suffix, metadata.get("name"), _DATE.sub("", base), "job")
    stem = next(filter(None, map(_slug, sources)))
    return next(name for name in _candidates(stem, _slug(job.id)) if name not in taken)


def _slug(text: str | None) -> str:
    """Return what of a text a name may hold; the accents of letters go."""
    plain = unicodedata.normalize("NFKD", text or "").encode("ascii", "ignore").decode().lower()
    return _REST.sub("-", plain).strip("-")[:MAX_NAME].strip("-")


def _candidates(stem: str, job_id: str) -> Iterator[str]:
    yield stem
    number = 1
    while True:
        tail = f"-{job_id[-_TAIL:].strip('-')}" + (f"-{number}" if number > 1 else "")
        yield stem[: MAX_NAME - len(tail)].rstrip("-") + tail
        number += 1
