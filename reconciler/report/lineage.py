"""Where a model comes from: blocks of facts for people, a document for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from reconciler.history.attempts import Data
from reconciler.history.lineage import Generation
from reconciler.report.escape import clean
from reconciler.report.figures import timestamp
from reconciler.report.history import commit_words, data_json, hyperparameters, settings, version_json
from reconciler.report.layout import Page, pad, widest
from reconciler.report.style import Span, status_style
from reconciler.report.words import revision


def lineage_json(line: Sequence[Generation], notes: Sequence[str]) -> dict[str, Any]:
    """Return the document of ``trace --format json``: the model itself first, then those it was started from."""
    return {"lineage": [_generation_json(g) for g in line], "notes": list(notes)}


def _generation_json(generation: Generation) -> dict[str, Any]:
    job, origin = generation.origin.job, generation.origin
    return {
        "model": generation.model,
        "checkpoint_step": generation.step,
        "job_id": job.id,
        "status": job.status,
        "created_at": job.created_at,
        "owner": generation.owner,
        "ours": generation.ours,
        "name": job.name or None,
        "revision": job.revision or None,
        "attempt": job.attempt or None,
        **version_json(origin.version),
        "training_file": data_json(origin.training),
        "validation_file": data_json(origin.validation),
        "base_model": job.model,
        "method": job.method.get("type"),
        "hyperparameters": hyperparameters(job),
        "seed": job.seed,
    }


def render_lineage(line: Sequence[Generation], notes: Sequence[str], *, color: bool, width: int | None) -> str:
    """Render a block for each model; the one asked for comes first, what it was started from follows."""
    page = Page(color=color, width=width)
    for generation in line:
        page.line((clean(generation.model), "title"))
        facts = list(_facts(generation))
        label = widest(name for name, _ in facts)
        for name, spans in facts:
            page.line("  ", (pad(name, label) + "  ", "dim"), *spans, hang=label + 4)
        page.blank()
    for note in notes:
        page.line(("Note: ", "warn"), clean(note), hang=6)
    return str(page)


def _facts(generation: Generation) -> Iterator[tuple[str, list[Span]]]:
    origin, job = generation.origin, generation.origin.job
    if not generation.ours:
        whose = f"belongs to {generation.owner}, not to us" if generation.owner else "made outside the specs: no owner"
        yield "owner", [(clean(whose), "warn")]
    if generation.step is not None:
        yield "checkpoint", [(f"step {generation.step}", "")]
    status: Span = (clean(job.status), status_style(job.status))
    yield "job", [(clean(job.id), ""), ("  ", ""), status, (f"  created {timestamp(job.created_at)}", "dim")]
    if job.name:
        version = origin.version
        yield "spec", [(clean(job.name), ""), (f"  {clean(version.file)}:{version.line}" if version else "", "calm")]
        yield "revision", [(clean(revision(job.revision, job.attempt)), "")]
        digits, subject = commit_words(version)
        when = f"  {timestamp(version.time)}" if version and version.commit else ""
        yield "commit", [(digits + ("  " if digits else ""), ""), (clean(subject, 80), ""), (when, "dim")]
    for field, data in (("data", origin.training), ("validation", origin.validation)):
        if data is not None:
            yield field, _data(data)
    if given := settings(job):
        yield "settings", [(clean(given), "")]
    yield "base", [(clean(job.model), "")]


def _data(data: Data) -> list[Span]:
    digest = f"sha256:{data.digest}" if data.digest else "content unknown"
    path = f"{clean(data.path)}  " if data.path else ""
    return [(path, "calm"), (clean(digest), ""), (f"  {clean(data.file_id)}", "dim")]
