"""What the specs say now, as far as that is certain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from reconciler.spec.load import Repository


@dataclass(frozen=True)
class Snapshot:
    """The desired state of one moment.

    ``problems`` say what is wrong with files, and what stands in their place. ``unsure`` is why a spec that is missing
    may not be gone: as long as there is a reason, no job is cancelled for having lost its spec. ``again`` is when to
    read anew, in seconds from now, None where nothing is expected. ``notes`` are said once. ``at`` says which version
    of the specs this is, where they have versions.
    """

    repository: Repository
    problems: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()
    again: float | None = None
    notes: tuple[str, ...] = ()
    at: str = ""


class Source(Protocol):
    """Where specs come from."""

    async def read(self) -> Snapshot:
        """Return what they say now; a fault is part of the answer.

        Raises:
            ReconcilerError: nothing has ever been read, so that nothing can stand in its place.
        """

    async def changed(self) -> bool:
        """Whether reading again may give another answer."""


class Pinned:
    """Specs as they were at one moment."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    async def read(self) -> Snapshot:
        """Return them."""
        return self._snapshot

    async def changed(self) -> bool:
        """Say no."""
        return False
