"""``reconciler graph``: which spec starts from which."""

from __future__ import annotations

import sys

import click

from reconciler.cli.options import environment_option, format_option, paths_argument
from reconciler.cli.terminal import Terminal
from reconciler.report.document import to_text
from reconciler.report.graph import graph_json, mermaid, render_graph
from reconciler.spec.load import load


@click.command()
@paths_argument
@environment_option
@format_option("text", "mermaid", "json")
def command(paths: tuple[str, ...], environment: str | None, form: str) -> None:
    """Draw which spec starts from which: a tree, mermaid for a page, or JSON. Works offline, without data files."""
    desired = load(paths or ("specs",), environment=environment, stdin=sys.stdin.buffer, files=False).desired
    if form == "json":
        click.echo(to_text(graph_json(desired)), nl=False)
    elif form == "mermaid":
        click.echo(mermaid(desired), nl=False)
    else:
        terminal = Terminal.of(sys.stdout)
        click.echo(render_graph(desired, color=terminal.color, width=terminal.width), nl=False)
