"""``reconciler schema``: the JSON Schema of a spec."""

from __future__ import annotations

import click


@click.command()
@click.option("--config", is_flag=True, help="The schema of reconciler.yaml instead.")
def command(config: bool) -> None:
    """Print the JSON Schema (draft 2020-12) of a spec, for editors and other checkers."""
    from reconciler.spec.schema import committed  # noqa: PLC0415

    click.echo(committed("config" if config else "spec"), nl=False)
