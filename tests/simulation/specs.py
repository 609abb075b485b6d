"""Specs that people edit at random, and what they come to."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reconciler.spec.desired import Adopt, DataFile, Desired, Replace, State, Upstream
from reconciler.spec.revision import chained, revision

NAMES = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu")
FILES = 4
PROJECTS = ("proj-a", "proj-b", "qa")
METHOD = {"type": "supervised"}


def write_files(root: Path) -> tuple[DataFile, ...]:
    """Write the data files that all specs choose from."""
    made = []
    for number in range(FILES):
        content = f'{{"messages": [{number}]}}\n'.encode() * 10
        (root / f"{number}.jsonl").write_bytes(content)
        made.append(DataFile(f"{number}.jsonl", hashlib.sha256(content).hexdigest(), len(content), 10))
    return tuple(made)


@dataclass(frozen=True)
class Want:
    """One spec as its author wrote it. ``base`` is the spec it starts from."""

    data: int = 0
    seed: int = 1
    base: str | None = None
    checkpoint: str = "last"
    state: State = "running"
    replace: Replace = "cancel"
    retry_limit: int = 0
    priority: int = 0
    protect: bool = False
    permissions: tuple[str, ...] = ()
    adopt: Adopt | None = None


EDITS = {
    "add": 2,
    "delete": 1,
    "rename": 1,
    "retrain": 3,
    "turn": 3,
    "chain": 2,
    "revert": 1,
    "settings": 1,
    "protect": 1,
    "share": 1,
    "adopt": 2,
}
"""What people do to specs, and how often."""
Specs = dict[str, Want]


def resolve(specs: Specs, files: Sequence[DataFile]) -> tuple[Desired, ...]:
    """Do what the loader does, for values."""
    revisions: dict[str, str] = {}
    desired = []
    for name in sorted(specs, key=lambda n: specs[n].base is not None):  # no base has a base
        want = specs[name]
        data = files[want.data]
        chain = chained(revisions[want.base], want.checkpoint) if want.base else None
        revisions[name] = revision(chain or "gpt-small", data, METHOD, seed=want.seed)
        checkpoint: Any = want.checkpoint
        desired.append(
            Desired(
                name=name,
                revision=revisions[name],
                model=Upstream(want.base, checkpoint) if want.base else "gpt-small",
                training_file=data,
                method=METHOD,
                seed=want.seed,
                state=want.state,
                replace=want.replace,
                retry_limit=want.retry_limit,
                priority=want.priority,
                protect=want.protect,
                permissions=want.permissions,
                adopt=want.adopt,
            )
        )
    return tuple(desired)


@dataclass
class Repository:
    """The specs and their history, newest last. ``strangers`` tells the ids of jobs made elsewhere."""

    chance: random.Random
    files: Sequence[DataFile]
    strangers: Callable[[], Sequence[str]]
    versions: list[Specs] = field(default_factory=lambda: [{}])

    @property
    def specs(self) -> Specs:
        return self.versions[-1]

    def edit(self) -> str:
        """Make one commit at random, and return what it did."""
        kind = self.chance.choices(list(EDITS), list(EDITS.values()))[0]
        getattr(self, kind)()
        return kind

    def _commit(self, specs: Specs) -> None:
        self.versions.append(specs)

    def _pick(self) -> str | None:
        return self.chance.choice(sorted(self.specs)) if self.specs else None

    def add(self) -> None:
        """Write a spec under a free name."""
        if free := [n for n in NAMES if n not in self.specs]:
            want = Want(
                data=self.chance.randrange(FILES),
                seed=self.chance.randrange(3),
                retry_limit=self.chance.choice((0, 0, 1, 2)),
                priority=self.chance.randrange(2),
                protect=self.chance.random() < 0.1,
                permissions=self.chance.choice(((), (), ("proj-a",), PROJECTS)),
            )
            self._commit({**self.specs, self.chance.choice(free): want})

    def delete(self) -> None:
        """Remove a spec; what was built on it starts from the plain model."""
        if name := self._pick():
            rest = {n: w for n, w in self.specs.items() if n != name}
            self._commit({n: replace(w, base=None) if w.base == name else w for n, w in rest.items()})

    def rename(self) -> None:
        """Give a spec another name, and tell what is built on it."""
        free = [n for n in NAMES if n not in self.specs]
        if free and (name := self._pick()):
            new = self.chance.choice(free)
            moved = {new if n == name else n: w for n, w in self.specs.items()}
            self._commit({n: replace(w, base=new) if w.base == name else w for n, w in moved.items()})

    def retrain(self) -> None:
        """Change what training depends on."""
        if name := self._pick():
            want = self.specs[name]
            new = (
                replace(want, seed=self.chance.randrange(3))
                if self.chance.random() < 0.5
                else replace(want, data=self.chance.randrange(FILES))
            )
            self._commit({**self.specs, name: new})

    def turn(self) -> None:
        """Change the state a spec asks for."""
        if name := self._pick():
            state: State = self.chance.choice(("running", "running", "paused", "paused", "cancelled"))
            self._commit({**self.specs, name: replace(self.specs[name], state=state)})

    def chain(self) -> None:
        """Start a spec from what another one produces, or no longer."""
        if (name := self._pick()) and not any(w.base == name for w in self.specs.values()):
            bases = [n for n, w in sorted(self.specs.items()) if w.base is None and n != name]
            base = self.chance.choice([*bases, None])
            new = replace(self.specs[name], base=base, checkpoint=self.chance.choice(("last", "best")))
            self._commit({**self.specs, name: new})

    def revert(self) -> None:
        """Go back to the specs of some time ago."""
        self._commit(self.chance.choice(self.versions[-4:]))

    def settings(self) -> None:
        """Change what is no part of a revision."""
        if name := self._pick():
            new = replace(
                self.specs[name],
                replace=self.chance.choice(("cancel", "wait")),
                retry_limit=self.chance.choice((0, 1, 2)),
                priority=self.chance.randrange(2),
            )
            self._commit({**self.specs, name: new})

    def protect(self) -> None:
        """Forbid that a spec's jobs are cancelled, or no longer."""
        if name := self._pick():
            self._commit({**self.specs, name: replace(self.specs[name], protect=self.chance.random() < 0.6)})

    def share(self) -> None:
        """Change who may use a spec's model."""
        if name := self._pick():
            projects = tuple(self.chance.sample(PROJECTS, self.chance.randrange(3)))
            self._commit({**self.specs, name: replace(self.specs[name], permissions=projects)})

    def adopt(self) -> None:
        """Let a job made elsewhere count for a spec as it is now, or as it was once, or no longer."""
        used = {want.adopt.job for want in self.specs.values() if want.adopt}
        free = [job_id for job_id in self.strangers() if job_id not in used]
        if name := self._pick():
            if not free:
                self._commit({**self.specs, name: replace(self.specs[name], adopt=None)})
                return
            specs = self.specs if self.chance.random() < 0.9 else self.versions[-2]
            revisions = {spec.name: spec.revision for spec in resolve(specs, self.files)}
            adopted = Adopt(self.chance.choice(free), revisions.get(name, "0" * 16))
            self._commit({**self.specs, name: replace(self.specs[name], adopt=adopted)})
