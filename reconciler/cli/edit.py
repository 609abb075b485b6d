"""What ``pause``, ``resume`` and ``cancel`` share: they edit specs, because git stays the truth."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from reconciler.cli.options import environment_option, format_option
from reconciler.cli.output import write_atomic
from reconciler.cli.say import say
from reconciler.cli.terminal import Terminal
from reconciler.errors import SpecError, UsageError
from reconciler.report.document import to_text
from reconciler.report.patch import render_patch, unified
from reconciler.spec.config import Config
from reconciler.spec.desired import State
from reconciler.spec.documents import read_bytes
from reconciler.spec.edit import set_state
from reconciler.spec.load import STDIN, gather
from reconciler.spec.locate import Place, locate

_RULES = """\b
Only the state is changed: comments, order and quotes stay. It works offline.
Commit the change, then run: reconciler apply

NAMEs come first. Of the other arguments, those with a slash, those that end in .yaml or .yml, and existing
directories are PATHS (default: specs). The name of a spec with a matrix stands for all its jobs."""


@dataclass(frozen=True, slots=True)
class Edit:
    """What a new state does to one file."""

    shown_as: str
    before: bytes
    after: bytes

    @property
    def diff(self) -> str:
        """What changes, as a unified diff."""
        return unified(self.shown_as, self.before.decode(), self.after.decode())


def edit_command(state: State, purpose: str) -> click.Command:
    """Make the command that sets a state."""

    @click.command(help=f"{purpose}\n\n{_RULES}")
    @click.argument("arguments", nargs=-1, required=True, metavar="NAME... [PATHS]...")
    @environment_option
    @format_option("text", "json")
    @click.option("--dry-run", is_flag=True, help="Show the change, and write nothing.")
    def command(arguments: tuple[str, ...], environment: str | None, form: str, dry_run: bool) -> None:
        names, paths = _told_apart(arguments)
        found = gather(paths, environment=environment)
        if found.specs.problems:
            raise SpecError(found.specs.problems)
        places = locate(names, found.specs.drafts, state)
        edits = edits_of(places, state)
        if not dry_run:
            write(edits)
        diff = "".join(edit.diff for edit in edits.values())
        if form == "json":
            click.echo(to_text(_document(places, state, diff, written=bool(edits) and not dry_run)), nl=False)
            return
        click.echo(render_patch(diff, color=Terminal.of(sys.stdout).color), nl=False)
        for note in _notes(places, state, found.config, environment):
            say(note)
        if dry_run:
            say("Nothing was written.")
        elif edits:
            # Without paths: to apply fewer of them than usual would prune the rest.
            where = f" --environment {environment}" if environment else ""
            say(f"Next: commit it, then: reconciler apply{where}")

    return command


def _told_apart(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names and the paths among the arguments."""
    names, paths = list[str](), list[str]()
    for argument in arguments:
        lexical = any(sep in argument for sep in (os.sep, "/")) or argument.endswith((".yaml", ".yml"))
        (paths if lexical or (names and Path(argument).is_dir()) else names).append(argument)
    if STDIN in names:
        raise UsageError("What comes through a pipe cannot be edited.", hint="Name the file.")
    if not names:
        raise UsageError("No spec is named.", hint="Put its NAME before the PATHS.")
    return names, paths or ["specs"]


def edits_of(places: Sequence[Place], state: State) -> dict[str, Edit]:
    """Return what changes, by file; all of it is known to be possible before anything is written."""
    edits: dict[str, Edit] = {}
    for place in places:
        path, shown_as = os.path.realpath(place.file.path), place.file.shown_as
        edit = edits.get(path)
        before = edit.before if edit else read_bytes(path, shown_as)
        after = set_state(edit.after if edit else before, place.name, state, shown_as)
        edits[path] = Edit(shown_as, before, after)
    return {path: edit for path, edit in edits.items() if edit.after != edit.before}


def write(edits: Mapping[str, Edit]) -> None:
    """Write the files.

    Raises:
        ReconcilerError: one cannot be written; those before it are.
    """
    for path, edit in edits.items():
        write_atomic(Path(path), edit.after.decode())


def _notes(places: Sequence[Place], state: State, config: Config, environment: str | None) -> list[str]:
    notes = [f"{place.name} is {state} already." for place in places if place.state == state]
    notes += [
        f"{place.name}: {state} for the {len(place.jobs)} jobs of its matrix."
        for place in places
        if place.state != state and len(place.jobs) > 1
    ]
    others = [name for name, other in config.environments.items() if "state" in other.overrides]
    if others and environment is None:
        notes.append(f"Not so in {', '.join(sorted(others))}: reconciler.yaml sets the state of every spec there.")
    return notes


def _document(places: Sequence[Place], state: State, diff: str, *, written: bool) -> dict[str, object]:
    specs = [
        {
            "name": place.name,
            "file": place.file.shown_as,
            "jobs": list(place.jobs),
            "from": place.state,
            "to": state,
        }
        for place in places
    ]
    return {"specs": specs, "diff": diff, "written": written}
