"""``reconciler models export``: what the embedded server has trained, as files with a card, here or on a hub."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.say import in_json
from reconciler.cli.session import STATE
from reconciler.cli.terminal import Terminal
from reconciler.errors import ReconcilerError, UsageError

if TYPE_CHECKING:
    from reconciler.server.trainers.trl.card import Provenance
    from reconciler.server.trainers.trl.hub import Address, Hub


@click.group()
def command() -> None:
    """Handle the models that `reconciler serve --trainer trl` has made."""


@command.command()
@click.argument("name")
@click.option(
    "--to",
    "target",
    required=True,
    metavar="DIR|hf://OWNER/NAME[@BRANCH]",
    help="A new directory, or a repository of the Hugging Face hub, which gets one commit.",
)
@click.option("--public", is_flag=True, help="Let everybody see the repository; a new one is private otherwise.")
@click.option("--overwrite", is_flag=True, help="Replace the weights in a repository that holds another model.")
@click.option(
    "--gguf",
    "kind",
    type=click.Choice(["auto", "f32", "f16", "bf16", "q8_0"]),
    help="Write NAME.gguf of this type, too, with a Modelfile for Ollama.",
)
@click.option(
    "--gguf-converter",
    "converter",
    type=click.Path(path_type=Path),
    envvar="RECONCILER_GGUF_CONVERTER",
    help="llama.cpp's convert_hf_to_gguf.py, or its directory.  [default: RECONCILER_GGUF_CONVERTER, or on PATH]",
)
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=STATE,
    show_default=True,
    help="The directory of the server that made it.",
)
def export(
    name: str, target: str, *, public: bool, overwrite: bool, kind: str | None, converter: Path | None, directory: Path
) -> None:
    """Write the weights of NAME (a spec, or a model or checkpoint ft:...) into a directory or a repository of the hub.

    It gets the adapter, the whole model merged into safetensors, and a model card that names the data by digest, the
    spec, its revision and commit, and the metrics. On the hub the whole model is at the repository's root. The token is
    HF_TOKEN, or that of `hf auth login`.
    """
    from reconciler.observe.ownership import NAME  # noqa: PLC0415
    from reconciler.report.escape import clean  # noqa: PLC0415
    from reconciler.report.working import working  # noqa: PLC0415
    from reconciler.server.trainers.trl.export import Wish, find  # noqa: PLC0415
    from reconciler.server.trainers.trl.export import export as write  # noqa: PLC0415
    from reconciler.server.trainers.trl.gguf import Gguf, find_converter  # noqa: PLC0415
    from reconciler.server.trainers.trl.hub import Address, Leave, publish  # noqa: PLC0415

    address = Address.parse(target)
    if address is None and (public or overwrite):
        raise UsageError(
            "--public and --overwrite are for a repository of the hub.", hint="Leave them out for a directory."
        )
    gguf = Gguf(kind, find_converter(converter)) if kind else None
    what = find(directory, name, NAME)
    wish = Wish(_commit(what), gguf)
    terminal = Terminal.of(sys.stderr)
    moving = terminal.interactive and not in_json()
    with working(sys.stderr, interactive=moving, color=terminal.color) as doing:
        if address is None:
            parts = write(directory, what, Path(target), wish, doing)
            said = f"{what.made.name} is in {target}: {', '.join(part.name for part in parts)}"
        else:
            hub = _hub(address, bars=moving)
            commit = publish(directory, what, hub, Leave(public, overwrite), wish, doing)
            said = f"{what.made.name} is in {address}: {commit}"
    click.echo(clean(said))


def _hub(address: Address, *, bars: bool) -> Hub:
    from reconciler.cli.secrets import SECRETS  # noqa: PLC0415
    from reconciler.server.trainers.trl.hub import Hub, token  # noqa: PLC0415

    key = token()
    SECRETS.add([key])
    return Hub(address, key, bars=bars)


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
