"""``reconciler init``: a first spec, with its data and settings."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.spec.init import init


@click.command()
@click.argument("directory", default=".", type=click.Path(file_okay=False, path_type=Path))
def command(directory: Path) -> None:
    """Write a first spec, its data, reconciler.yaml and ignore files into DIRECTORY. Never overwrites."""
    result = init(directory)
    for path in result.written:
        click.echo(f"wrote  {path}")
    for path in result.kept:
        click.echo(f"kept   {path}")
    click.echo("Next: reconciler plan --server local", err=True)
