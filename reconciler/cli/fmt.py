"""``reconciler fmt``: spec files as all spec files look."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from reconciler.cli.options import paths_argument
from reconciler.cli.output import write_atomic
from reconciler.cli.say import say
from reconciler.cli.terminal import Terminal
from reconciler.errors import Problem, SpecError
from reconciler.report.patch import render_patch, unified
from reconciler.spec.config import find_root
from reconciler.spec.documents import read_bytes
from reconciler.spec.tidy import tidied
from reconciler.spec.tree import SpecFile, spec_files


@click.command()
@paths_argument
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 where a file would change.")
@click.option("--diff", is_flag=True, help="Show what changes.")
def command(paths: tuple[str, ...], check: bool, diff: bool) -> int:
    """Put specs into their usual form: keys in the documented order, lines trimmed; comments, quotes and values stay.

    Works offline. What a file says never changes: no plan is another one afterwards.
    """
    changed = _changed(paths or ("specs",))
    color = Terminal.of(sys.stdout).color
    for file, (before, after) in changed.items():
        if not check:
            write_atomic(Path(file.path), after.decode())
        if diff:
            patch = unified(file.shown_as, before.decode(), after.decode())
            click.echo(render_patch(patch, color=color), nl=False)
        else:
            click.echo(file.shown_as)
    count = f"{len(changed)} file{'' if len(changed) == 1 else 's'}"
    say(f"{count} would change." if check else f"{count} changed.")
    return 1 if check and changed else 0


def _changed(paths: tuple[str, ...]) -> dict[SpecFile, tuple[bytes, bytes]]:
    """Return the files that change, with their bytes before and after; a file with a fault stops everything.

    Raises:
        SpecError: for every file that cannot be read as YAML.
    """
    changed: dict[SpecFile, tuple[bytes, bytes]] = {}
    problems: list[Problem] = []
    for given in dict.fromkeys(paths):
        files, found = spec_files(given, find_root(Path(given)), Path.cwd())
        problems += found
        for file in files:
            try:
                before = read_bytes(file.path, file.shown_as)
                after = tidied(before, file.shown_as)
            except SpecError as error:
                problems += error.problems
                continue
            if after != before:
                changed[file] = (before, after)
    if problems:
        raise SpecError(problems)
    return changed
