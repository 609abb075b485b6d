"""``reconciler serve``: the embedded server as a process of its own."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli.session import STATE, run_async


@click.command()
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=STATE,
    show_default=True,
    help="Where jobs, files and models are kept.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Any other than loopback needs --api-key.")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 chooses a free one.")
@click.option(
    "--api-key", envvar="RECONCILER_API_KEY", metavar="KEY", help="Clients must send it; better set RECONCILER_API_KEY."
)
@click.option("--concurrency", type=click.IntRange(1, 64), default=4, show_default=True, help="Jobs trained at once.")
@click.option("--trainer", default="simulated", show_default=True, help="What trains: an installed trainer's name.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="How fast the simulated trainer goes.",
)
def command(
    directory: Path, host: str, port: int, api_key: str | None, concurrency: int, trainer: str, speed: float
) -> None:
    """Serve the fine-tuning API on this machine, until interrupted. Unfinished jobs go on at the next start."""
    from reconciler.server.serve import serve  # noqa: PLC0415

    run_async(
        serve(
            directory,
            host=host,
            port=port,
            api_key=api_key,
            concurrency=concurrency,
            trainer=trainer,
            speed=speed,
            ready=lambda url: click.echo(f"Serving {url}"),
        )
    )
