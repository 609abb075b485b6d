"""``reconciler outputs``: the models that the specs produced, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from reconciler.cli.options import Where, format_option, where_options
from reconciler.cli.output import write_atomic
from reconciler.cli.session import Session, open_session, run_async
from reconciler.observe.state import Observed
from reconciler.plan.planner import bind
from reconciler.report.outputs import outputs


@click.command()
@where_options
@format_option("json", "yaml", "env", "tfvars")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file, whole or not at all.")
def command(where: Where, form: Literal["json", "yaml", "env", "tfvars"], out: Path | None) -> None:
    """Print the fine-tuned model of each spec; a spec without one yet has none."""
    text = outputs(run_async(_models(where)), form)
    if out:
        write_atomic(out, text)
    else:
        click.echo(text, nl=False)


async def _models(where: Where) -> dict[str, str | None]:
    async with open_session(where) as session:
        return models_of(session, await session.observe())


def models_of(session: Session, observed: Observed) -> dict[str, str | None]:
    """Return the model of each spec, None where there is none yet."""
    bound = bind(session.repository.desired, observed)
    return {name: job.fine_tuned_model if job else None for name, job in bound.items()}
