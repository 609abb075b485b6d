"""A run of ``reconciler ci`` under way, and how its pipeline wants it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from reconciler.ci.base import Base
from reconciler.ci.finished import Finished
from reconciler.ci.lock import Entry
from reconciler.ci.sticky import Mode
from reconciler.ci.surroundings import Asked, Surroundings
from reconciler.cli.options import Where, Which

LockCommit = Literal["none", "commit", "pull-request"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a pipeline wants it. ``wait_timeout`` is in minutes; ``base`` names the commit to be judged by."""

    asked: Asked
    comment: Mode
    out_dir: Path | None
    wait: bool
    wait_timeout: float | None
    fail_on_drift: bool
    fail_on_blocked: bool
    require_reviewed_plan: bool
    allow_stale: bool
    base: str | None
    lock_file: Path | None
    lock_commit: LockCommit


@dataclass
class Run:
    """A run under way: what it has come to so far survives any error of ours.

    ``base`` is what a pull request is held against, None for what has been merged; ``keyed`` says that a key was sent;
    ``word`` is what a runner that was told to take no commands waits for, empty where there is none. ``notes`` are what
    the run could not do for its reviewers, in words.
    """

    where: Where
    which: Which
    settings: Settings
    around: Surroundings
    finished: Finished
    base: Base | None = None
    keyed: bool = False
    word: str = ""
    root: Path | None = None
    plan_file: Path | None = None
    plan_json: Path | None = None
    produced: Mapping[str, Entry | None] | None = None
    notes: list[str] = field(default_factory=list)
    code: int = 0

    def found(self, **facts: object) -> None:
        """Keep facts of how it ended."""
        self.finished = replace(self.finished, **facts)  # type: ignore[arg-type]

    def judge(self, base: Base) -> None:
        """Go by the settings of a pull request's base, not by its own."""
        self.base = base
        self.where = replace(self.where, settings=base.settings)
        self.found(offline=base.offline, settings=base.changed)
