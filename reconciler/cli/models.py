"""``reconciler models export``: what the embedded server has trained, as files with a card."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.session import STATE
from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from reconciler.server.trainers.trl.export import Provenance


@click.group()
def command() -> None:
    """Handle the models that `reconciler serve --trainer trl` has made."""


@command.command()
@click.argument("name")
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="A new directory.",
)
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=STATE,
    show_default=True,
    help="The directory of the server that made it.",
)
def export(name: str, target: Path, directory: Path) -> None:
    """Write the weights of NAME (a spec, or a model or checkpoint ft:...) into a directory.

    It gets the adapter, the whole model merged into safetensors, and a model card that names the data by digest, the
    spec, its revision and commit, and the metrics.
    """
    from reconciler.observe.ownership import NAME  # noqa: PLC0415
    from reconciler.report.escape import clean  # noqa: PLC0415
    from reconciler.server.trainers.trl.export import export as write  # noqa: PLC0415
    from reconciler.server.trainers.trl.export import find  # noqa: PLC0415

    what = find(directory, name, NAME)
    parts = write(directory, what, target, commit=_commit(what))
    click.echo(clean(f"{what.made.name} is in {target}: {', '.join(part.name for part in parts)}"))


def _commit(what: Provenance) -> str | None:
    """Find the commit that brought the job's spec, where the specs are at hand and git knows."""
    from reconciler.cli.options import Where  # noqa: PLC0415
    from reconciler.cli.session import load_specs  # noqa: PLC0415
    from reconciler.history.commits import read_past  # noqa: PLC0415
    from reconciler.observe.ownership import parse  # noqa: PLC0415

    where = Where()
    if not Path(where.paths[0]).is_dir():
        return None
    with suppress(ReconcilerError, ValueError), load_specs(where) as (repository, cache):
        ownership = parse(what.metadata)
        if ownership is None:
            return None
        past = read_past(repository.root, where.paths, None, repository.desired, cache)
        version = past.find(ownership.name, ownership.revision, what.job.document["created_at"])
        return version.commit if version else None
    return None
