"""The desired state: what the specs say, resolved. Pure values, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["running", "paused", "cancelled"]
Replace = Literal["cancel", "wait"]


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """Where a spec stands: a path relative to the repository, a line and a column that count from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        """Render as compilers do."""
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class DataFile:
    """A training file by its content.

    ``path`` is POSIX and relative to the repository's root; ``digest`` is the SHA-256 in 64 hex digits; ``size`` is
    in bytes; ``rows`` counts the lines that are not blank.
    """

    path: str
    digest: str
    size: int
    rows: int


@dataclass(frozen=True, slots=True)
class Upstream:
    """A base model that another spec produces: its last model, its best checkpoint, or the one at a step."""

    job: str
    checkpoint: Literal["best", "last"] | int = "last"


@dataclass(frozen=True, slots=True)
class Adopt:
    """A job made elsewhere that counts as this spec's, as long as the spec's revision is the one named."""

    job: str
    revision: str


@dataclass(frozen=True, slots=True)
class Desired:
    """One job as its spec wants it, after environments and matrix.

    A data file given as a string is a file id. ``method`` is the API's method object in canonical form: its ``type``
    always present, ``auto`` and null left out. ``revision`` is the digest of all that training depends on;
    ``metadata`` holds the user's pairs only, and with ``integrations`` is not part of it.
    """

    name: str
    revision: str
    model: str | Upstream
    training_file: DataFile | str
    validation_file: DataFile | str | None = None
    method: Mapping[str, Any] = field(default_factory=lambda: {"type": "supervised"})
    suffix: str | None = None
    seed: int | None = None
    integrations: tuple[Mapping[str, Any], ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    state: State = "running"
    replace: Replace = "cancel"
    retry_limit: int = 0
    protect: bool = False
    priority: int = 0
    rerun: str | None = None
    adopt: Adopt | None = None
    permissions: tuple[str, ...] = ()
    source: Source = Source("<none>")

    @property
    def files(self) -> tuple[DataFile, ...]:
        """The data files that must be on the server before this job can be created."""
        return tuple(f for f in (self.training_file, self.validation_file) if isinstance(f, DataFile))
