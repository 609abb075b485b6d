"""An import: jobs are chosen, become drafts, get the revision that the loader gives them, and are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.adopt.choose import Chosen, Selection, choose
from reconciler.adopt.drafts import Draft, Known, draft
from reconciler.adopt.files import download, is_file, write_specs
from reconciler.adopt.text import document
from reconciler.api.concurrently import concurrently
from reconciler.api.types import Checkpoint, Job
from reconciler.errors import NotFound, SpecError, Unsupported, UsageError
from reconciler.observe.state import Observed, ObservedJob
from reconciler.plan.planner import bind
from reconciler.spec.desired import Adopt, Desired
from reconciler.spec.tree import SpecFile

if TYPE_CHECKING:
    from reconciler.api.client import Client

Revise = Callable[[Mapping[SpecFile, bytes]], Mapping[str, str]]
"""Loads files that are not written yet together with the repository; returns the revisions by name.

Raises SpecError for what is wrong with them.
"""


@dataclass(frozen=True, slots=True)
class Imported:
    """A job and the spec that was written for it."""

    job_id: str
    name: str
    status: str
    revision: str
    file: Path
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What an import came to.

    ``skipped`` says by id why a job has no spec, ``known`` for which spec it counted before, ``missing`` why the
    content of a file could not be saved. ``foreign`` counts the jobs of other owners that were passed over.
    """

    imported: tuple[Imported, ...]
    skipped: Mapping[str, str]
    known: Mapping[str, str]
    missing: Mapping[str, str]
    foreign: int


@dataclass(frozen=True, slots=True)
class Import:
    """What to import, and where to. ``name`` is for a single job; ``save_data`` downloads training files."""

    selection: Selection
    out: Path
    name: str | None = None
    save_data: bool = False

    @property
    def directory(self) -> Path:
        """Where the specs will stand."""
        return self.out.parent if is_file(self.out) else self.out

    async def run(
        self, client: Client, owner: str, desired: Sequence[Desired], observed: Observed, revise: Revise
    ) -> Result:
        """Write a spec for every job chosen, as far as a spec can say it.

        Raises:
            UsageError: the name cannot be given, or nothing can be written where it should be.
            ApiError: the server refused or failed; nothing was written but data.
        """
        bound = {name: job for name, job in bind(desired, observed).items() if job}
        chosen = await choose(client, owner, self.selection, _taken(desired, bound, observed))
        if self.name is not None and len(chosen.jobs) > 1:
            raise UsageError(f"--name {self.name} can name one job, not {len(chosen.jobs)}.", hint="Import it by id.")
        if self.name in {spec.name for spec in desired}:
            raise UsageError(f"There is a spec named {self.name} already.", hint="Give --name another.")
        files, missing = await self._data(client, chosen.jobs)
        known = Known(
            names=_names(desired, observed, chosen),
            models=bound,
            checkpoints=await _checkpoints(client, chosen.jobs, bound),
            files=files,
        )
        bodies, skipped = _settled(chosen.jobs, known, self.name, self.directory, revise)
        texts = [(d.name, document(d.job, d.shape, Adopt(d.job.id, revision))) for d, revision in bodies]
        written = write_specs(self.out, texts) if texts else []
        imported = tuple(
            Imported(d.job.id, d.name, d.job.status, revision, file, d.shape.left_out)
            for (d, revision), file in zip(bodies, written, strict=True)
        )
        return Result(imported, {**chosen.skipped, **skipped}, chosen.known, missing, chosen.foreign)

    async def _data(self, client: Client, jobs: Iterable[Job]) -> tuple[dict[str, str], dict[str, str]]:
        if not self.save_data:
            return {}, {}
        ids = dict.fromkeys(i for job in jobs for i in (job.training_file, job.validation_file) if i)
        return await download(client, ids, self.directory)


def _taken(desired: Sequence[Desired], bound: Mapping[str, ObservedJob], observed: Observed) -> dict[str, str]:
    """Say by id for which spec a job counts."""
    taken = {spec.adopt.job: f"the spec {spec.name} adopts it" for spec in desired if spec.adopt}
    foreign = {job.id for job in observed.taken}
    for name, job in bound.items():
        words = f"counts for the spec {name}"
        if job.id in foreign:
            words += f" with --take-over; for good, add to it: adopt: {{job: {job.id}, revision: {job.revision}}}"
        taken.setdefault(job.id, words)
    return taken


def _names(desired: Sequence[Desired], observed: Observed, chosen: Chosen) -> set[str]:
    """Return the names not to be used: of specs, and of active jobs, which a spec of that name would replace."""
    imported = {job.id for job in chosen.jobs}
    return {spec.name for spec in desired} | {j.name for j in observed.jobs if j.active and j.id not in imported}


def _settled(
    jobs: Sequence[Job], known: Known, name: str | None, directory: Path, revise: Revise
) -> tuple[list[tuple[Draft, str]], dict[str, str]]:
    """Draft until the loader takes every draft; return each with its revision, and why others were refused."""
    skipped: dict[str, str] = {}
    while True:
        drafts, refused = draft([job for job in jobs if job.id not in skipped], known, name)
        skipped |= refused
        files = {SpecFile(str(directory / f"{d.name}.yaml"), d.job.id): d.text.encode() for d in drafts}
        try:
            revisions = revise(files)
        except SpecError as error:
            faulty = {problem.file: problem.message for problem in error.problems}
            found = {d.job.id: faulty[d.job.id] for d in drafts if d.job.id in faulty}
            if not found:
                raise
            skipped |= found
        else:
            return [(d, revisions[d.name]) for d in drafts], skipped


async def _checkpoints(
    client: Client, jobs: Sequence[Job], bound: Mapping[str, ObservedJob]
) -> dict[str, list[Checkpoint]]:
    """Read the checkpoints of jobs whose model on the way may be what another one starts from."""
    makers: dict[str, Job | ObservedJob] = {job.id: job for job in bound.values()}
    makers |= {job.id: job for job in jobs}
    last = {job.fine_tuned_model for job in makers.values()}
    bases = {job.model for job in jobs if job.model.startswith("ft:")} - last
    wanted = [
        i
        for i, job in makers.items()
        if any(base.startswith(job.fine_tuned_model or _stem(job.model)) for base in bases)
    ]

    async def read(job_id: str) -> list[Checkpoint]:
        try:
            return await client.checkpoints(job_id)
        except (NotFound, Unsupported):
            return []

    return dict(zip(wanted, await concurrently(read, wanted), strict=True))


def _stem(model: str) -> str:
    """Return how the names of models begin that a job makes from this one."""
    return f"ft:{model.removeprefix('ft:').partition(':')[0]}:"
