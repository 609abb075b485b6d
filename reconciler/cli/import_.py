"""``reconciler import``: specs for jobs that were made elsewhere."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click

from reconciler.adopt.choose import Selection
from reconciler.adopt.importing import Import, Result
from reconciler.cli.options import Where, Which, format_option, take_over_option, where_options
from reconciler.cli.say import say
from reconciler.cli.session import Session, open_session, run_async
from reconciler.cli.terminal import Terminal
from reconciler.errors import UsageError
from reconciler.plan.model import Action
from reconciler.report.document import to_text
from reconciler.report.escape import clean
from reconciler.report.imported import imported_json, render_imported
from reconciler.spec.load import STDIN, load
from reconciler.spec.tree import SpecFile

_ARGUMENTS = click.argument("paths", nargs=-1, metavar="[ID]... [PATHS]...")
_HOME = "specs"


@click.command()
@functools.partial(where_options, paths=_ARGUMENTS)
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="All jobs that carry this pair; may be repeated.")
@click.option("--unowned", is_flag=True, help="All jobs that no owner claims.")
@take_over_option
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR|FILE", help="Where to; default: the first PATH.")
@click.option("--download", is_flag=True, help="Save training files beside the specs, in data/.")
@click.option("--name", metavar="NAME", help="What to call the spec of a single job.")
@format_option("text", "json")
def command(
    where: Where,
    metadata: tuple[str, ...],
    unowned: bool,
    take_over: tuple[str, ...],
    out: Path | None,
    download: bool,
    name: str | None,
    form: str,
) -> int:
    """Write a spec for each job of these IDs, or for all that --metadata, --unowned or --take-over selects.

    The specs adopt their jobs, so the plan is empty afterwards: nothing is trained again, and what trains goes on.
    Nothing is changed on the server and no file is overwritten. What no spec can say is skipped (exit code 1).

    Arguments with a slash, those that end in .yaml or .yml, and existing directories are PATHS (default: specs).
    """
    ids, paths = _told_apart(where.paths)
    if bool(ids) == bool(metadata or unowned or (take_over and not ids)):
        raise UsageError(
            "Say which jobs: their IDs, or --metadata KEY=VALUE, --unowned or --take-over OWNER to select them."
        )
    if unowned and take_over:
        raise UsageError("--unowned and --take-over exclude each other: a job has an owner, or none.")
    selection = Selection(ids, dict(map(_pair, metadata)), take_over)
    work = Import(selection, out or _default(paths), name, download)
    with _existing(paths):
        result, problems = run_async(_import(replace(where, paths=paths), work))
    if form == "json":
        click.echo(to_text(imported_json(result)), nl=False)
    else:
        terminal = Terminal.of(sys.stdout)
        click.echo(render_imported(result, color=terminal.color, width=terminal.width), nl=False)
    for problem in problems:
        say(f"not converged: {clean(problem)}", "error")
    if result.imported and not problems:
        say("The plan for them is empty. Next: look at them, and commit them.")
    return 1 if result.skipped or problems else 0


def _told_apart(arguments: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the ids and the paths among the arguments."""
    if STDIN in arguments:
        raise UsageError("Specs cannot be added to what comes through a pipe.", hint="Name a directory.")
    paths = [a for a in arguments if os.sep in a or "/" in a or a.endswith((".yaml", ".yml")) or _is_directory(a)]
    return tuple(a for a in arguments if a not in paths), tuple(paths) or (_HOME,)


def _is_directory(argument: str) -> bool:
    return argument == _HOME or Path(argument).is_dir()


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise UsageError(f"--metadata {text}: must be KEY=VALUE.")
    return key, value


def _default(paths: Sequence[str]) -> Path:
    first = Path(paths[0])
    return first.parent if first.is_file() else first


@contextlib.contextmanager
def _existing(paths: Sequence[str]) -> Iterator[None]:
    """Make the usual directory where a repository has none yet; take it away again if nothing came into it."""
    home = Path(_HOME)
    made = list(paths) == [_HOME] and not home.exists()
    if made:
        home.mkdir()
    try:
        yield
    finally:
        if made:
            with contextlib.suppress(OSError):
                home.rmdir()


async def _import(where: Where, work: Import) -> tuple[Result, list[str]]:
    async with open_session(where) as session:
        observed = await session.observe(work.selection.take_over)

        def revise(files: Mapping[SpecFile, bytes]) -> dict[str, str]:
            loaded = load(where.paths, environment=where.environment, cache=session.cache, unwritten=files)
            return {spec.name: spec.revision for spec in loaded.desired}

        result = await work.run(session.client, session.owner, session.repository.desired, observed, revise)
        return result, await _problems(session, where, work, result)


async def _problems(session: Session, where: Where, work: Import, result: Result) -> list[str]:
    """Plan as the next command would, and say what is not as it should be."""
    if not result.imported:
        return []
    repository = load(where.paths, environment=where.environment, cache=session.cache)
    again = replace(session, repository=repository)
    options = Which(take_over=work.selection.take_over).to_options(repository)
    plan = (await again.reconciler(options).look()).plan
    names = {each.name for each in result.imported}
    unseen = names - {spec.name for spec in repository.desired}
    return [f"{name}: its file is not among {', '.join(where.paths)}" for name in sorted(unseen)] + [
        f"{change.name}: {change.action}: {change.reason}"
        for change in plan.changes
        if change.name in names and change.action is not Action.NONE
    ]
