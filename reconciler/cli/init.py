"""``reconciler init``: a first spec, with its data and settings."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli.say import say
from reconciler.spec.init import FILES, init


@click.command()
@click.argument("directory", default=".", type=click.Path(file_okay=False, path_type=Path))
def command(directory: Path) -> None:
    """Write a first spec, its data, reconciler.yaml and ignore files into DIRECTORY. Never overwrites."""
    written = init(directory)
    for path in (directory / name for name in FILES):
        click.echo(f"{'wrote' if path in written else 'kept '}  {path}")
    say("Next: reconciler plan --server local")
