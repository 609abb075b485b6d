"""``reconciler init``: a first spec, with its data and settings, and workflows for GitHub where asked."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import click

from reconciler.cli.say import say, warn
from reconciler.errors import UsageError
from reconciler.spec.init import FILES, init, write_new


@click.command()
@click.argument("directory", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option("--github", is_flag=True, help="Write workflows that plan, apply and look for drift, too.")
@click.option(
    "--action",
    metavar="OWNER/REPO@COMMIT",
    help="The action that --github's workflows use.  [default: the commit this was installed from, else a gap to fill]",
)
def command(directory: Path, github: bool, action: str | None) -> None:
    """Write a first spec, its data, reconciler.yaml and ignore files into DIRECTORY. Never overwrites.

    With --github, workflows and a hint for CODEOWNERS as well, at the top of the git repository.
    """
    if action and not github:
        raise UsageError("--action says what --github's workflows use.", hint="Add --github.")
    files = _workflows(directory, action) if github else {}
    written = init(directory)
    written += [path for path, text in files.items() if write_new(path, text)]
    for path in (*(directory / name for name in FILES), *files):
        click.echo(f"{'wrote' if path in written else 'kept '}  {path}")
    say("Next: reconciler plan --server local")
    if github:
        from reconciler.ci.workflows import PLACEHOLDER  # noqa: PLC0415

        if any(PLACEHOLDER in files.get(path, "") for path in written):
            warn(
                "nothing says which commit of the action to use, since this was not installed from one: in the "
                f"workflows, put OWNER/REPO@COMMIT in place of {PLACEHOLDER}."
            )
        say(
            "Before the first merge: a server in reconciler.yaml that outlasts a runner, and the secret OPENAI_API_KEY."
        )


def _workflows(directory: Path, action: str | None) -> dict[Path, str]:
    from reconciler.ci.workflows import PLACEHOLDER, installed_action, workflows  # noqa: PLC0415

    try:
        action = action or installed_action(distribution("finetune-reconciler").read_text("direct_url.json"))
    except PackageNotFoundError:
        action = None
    return workflows(directory, action or PLACEHOLDER)
