"""Whose a job is, as written in its metadata. Pure.

Three keys carry it: ``reconciler.owner``, ``reconciler.name`` and ``reconciler.revision``, whose value is
``DIGEST.ATTEMPT``: 16 hex digits, a dot, and the number of the attempt counted from 1.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

OWNER = "reconciler.owner"
NAME = "reconciler.name"
REVISION = "reconciler.revision"

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?")
_REVISION = re.compile(r"([0-9a-f]{16})\.([1-9][0-9]{0,5})")


@dataclass(frozen=True, slots=True, order=True)
class Ownership:
    """What our metadata says of a job."""

    owner: str
    name: str
    revision: str
    attempt: int


def stamp(ownership: Ownership) -> dict[str, str]:
    """Return the metadata pairs that make a job ours."""
    return {
        OWNER: ownership.owner,
        NAME: ownership.name,
        REVISION: f"{ownership.revision}.{ownership.attempt}",
    }


def parse(metadata: Mapping[str, str] | None) -> Ownership | None:
    """Read ownership back.

    Returns:
        None where no owner is claimed.

    Raises:
        ValueError: an owner is claimed, but name or revision cannot be read; such a job is left alone.
    """
    metadata = metadata or {}
    owner = metadata.get(OWNER)
    if owner is None:
        return None
    name = metadata.get(NAME, "")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{NAME} is {name[:80]!r}, which no spec can be called")
    match = _REVISION.fullmatch(metadata.get(REVISION, ""))
    if not match:
        raise ValueError(f"{REVISION} is {metadata.get(REVISION, '')[:80]!r}, not DIGEST.ATTEMPT")
    return Ownership(owner, name, match[1], int(match[2]))


def refusal(
    metadata: Mapping[str, str] | None, owner: str, *, status: str, ended: bool, take_over: Collection[str]
) -> str | None:
    """Say why a spec of ``owner`` may not adopt a job, None where it may.

    A job of another owner that has ended may be: nothing can be done to it any more. An active one needs its owner
    named in ``take_over``.
    """
    try:
        parse(metadata)
    except ValueError as error:
        if (metadata or {}).get(OWNER) == owner:
            return f"which claims our owner, but cannot be read: {error}"
    other = (metadata or {}).get(OWNER, owner)
    if other == owner or ended or other in take_over:
        return None
    return f"which is {status} and belongs to {other} (to act on it all the same: --take-over {other})"
