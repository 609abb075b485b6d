"""``reconciler serve``: the embedded server as a process of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.api.webhooks import SECRET_VARIABLE
from reconciler.cli.secrets import SECRETS
from reconciler.cli.session import STATE, run_async

if TYPE_CHECKING:
    from fastapi import FastAPI

    from reconciler.server.chaos.rules import Chaos
    from reconciler.server.context import Front


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
@click.option(
    "--trainer",
    envvar="RECONCILER_TRAINER",
    default="simulated",
    show_default=True,
    help="What trains: simulated, or trl, which trains for real.",
)
@click.option(
    "--models",
    envvar="RECONCILER_MODELS",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The catalogue of models that trl trains.  [default: models.yaml in --directory]",
)
@click.option(
    "--executor",
    envvar="RECONCILER_EXECUTOR",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where trl trains: on this machine, or on a Ray cluster.",
)
@click.option(
    "--gpus",
    envvar="RECONCILER_GPUS",
    metavar="N|device=I,J",
    help="GPUs of this machine to train on, one job each; 0 for none.  [default: all]",
)
@click.option(
    "--ray-address",
    envvar="RECONCILER_RAY_ADDRESS",
    metavar="HOST:PORT",
    help="The Ray cluster to train on.  [default: one is started here]",
)
@click.option(
    "--track",
    envvar="RECONCILER_TRACK",
    multiple=True,
    metavar="mlflow[=URI]|tensorboard[=DIR]",
    help="Show trl's runs there as they go; may be repeated.  [default place: tracking in --directory]",
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="How fast the simulated trainer goes.",
)
@click.option(
    "--chaos",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Misbehave by the rules of a file, to test against: see docs/chaos.md.",
)
@click.option(
    "--webhook",
    envvar="RECONCILER_WEBHOOK_URL",
    metavar="URL",
    help="Tell this address how jobs end, signed with RECONCILER_WEBHOOK_SECRET; or set RECONCILER_WEBHOOK_URL.",
)
@click.option("--ui", is_flag=True, help="Also serve a dashboard at /ui; with a key, it asks for that.")
def command(  # noqa: PLR0913 - an option each
    *,
    directory: Path,
    host: str,
    port: int,
    api_key: str | None,
    concurrency: int,
    trainer: str,
    models: Path | None,
    executor: str,
    gpus: str | None,
    ray_address: str | None,
    track: tuple[str, ...],
    speed: float,
    chaos: Path | None,
    webhook: str | None,
    ui: bool,
) -> None:
    """Serve the fine-tuning API on this machine, until interrupted. Unfinished jobs go on at the next start.

    Graders that run code are off until RECONCILER_PYTHON_GRADERS=isolated, those that ask a model until
    RECONCILER_GRADER_URL names a server: see docs/graders.md.
    """
    from reconciler.server.context import Settings  # noqa: PLC0415
    from reconciler.server.graders.settings import KEY_VARIABLE, from_environment  # noqa: PLC0415
    from reconciler.server.serve import serve  # noqa: PLC0415
    from reconciler.server.trainers.base import Placement  # noqa: PLC0415
    from reconciler.server.webhooks import endpoint  # noqa: PLC0415

    SECRETS.add([api_key or "", os.environ.get(KEY_VARIABLE, ""), os.environ.get(SECRET_VARIABLE, "")])
    target = endpoint(webhook, os.environ) if webhook else None
    rules, note = _chaos(chaos)

    run_async(
        serve(
            directory,
            host=host,
            port=port,
            concurrency=concurrency,
            trainer=trainer,
            speed=speed,
            settings=Settings(
                api_key=api_key,
                graders=from_environment(os.environ),
                models=models,
                placement=Placement(executor=executor, gpus=gpus, ray_address=ray_address),
                track=track,
                webhook=target,
                chaos=rules,
                front=_front(host, api_key) if ui else None,
            ),
            ready=lambda url: click.echo(f"Serving {url}{note}" + (f"\nDashboard: {_dashboard(url)}" if ui else "")),
            trains=lambda where: click.echo(f"Trains on {where}"),
        )
    )


def _chaos(file: Path | None) -> tuple[Chaos | None, str]:
    """Read the rules, and the words that say that they are at work."""
    if file is None:
        return None, ""
    from reconciler.server.chaos.rules import load_chaos  # noqa: PLC0415

    chaos = load_chaos(file, time.time())
    return chaos, f" with chaos: {len(chaos.rules)} rules of {file}, seed {chaos.seed}"


def _front(host: str, api_key: str | None) -> Callable[[FastAPI], Front]:
    """Return what makes the dashboard; it lets in who has the API's key."""
    from reconciler.api.loopback import is_loopback  # noqa: PLC0415
    from reconciler.observe.ownership import OWNER  # noqa: PLC0415
    from reconciler.server.board import Board  # noqa: PLC0415
    from reconciler.ui.access import Access  # noqa: PLC0415
    from reconciler.ui.pages import Pages  # noqa: PLC0415

    access = Access(api_key, loopback=is_loopback(host))
    return lambda app: Pages(Board(app.state.context, owner_key=OWNER), access)


def _dashboard(url: str) -> str:
    return f"{url.removesuffix('/v1')}/ui/"
