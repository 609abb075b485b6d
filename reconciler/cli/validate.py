"""``reconciler validate``: specs and data, offline and without a key."""

from __future__ import annotations

import click

from reconciler.cli.options import Where, environment_option, format_option, paths_argument
from reconciler.cli.session import load_specs
from reconciler.errors import SpecError
from reconciler.report.document import to_text


@click.command()
@paths_argument
@environment_option
@format_option("text", "json")
def command(paths: tuple[str, ...], environment: str | None, form: str) -> int:
    """Check specs, reconciler.yaml and data files. Nothing is sent anywhere."""
    where = Where(paths or ("specs",), environment)
    if form == "json":
        return _as_json(where)
    with load_specs(where) as (repository, _):
        pass
    count = len(repository.desired)
    click.echo(f"{count} {'job is' if count == 1 else 'jobs are'} valid.")
    return 0


def _as_json(where: Where) -> int:
    try:
        with load_specs(where) as (repository, _):
            pass
    except SpecError as error:
        problems = [{"file": p.file, "line": p.line, "column": p.column, "message": p.message} for p in error.problems]
        click.echo(to_text({"valid": False, "jobs": [], "problems": problems}), nl=False)
        return 1
    jobs = [{"name": spec.name, "revision": spec.revision, "source": str(spec.source)} for spec in repository.desired]
    click.echo(to_text({"valid": True, "jobs": jobs, "problems": []}), nl=False)
    return 0
