"""Options that several commands share, and what they are gathered into."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.errors import UsageError
from reconciler.plan.model import Plan
from reconciler.plan.planner import Options
from reconciler.spec.policy import MaxPrune
from reconciler.spec.scope import is_partial

if TYPE_CHECKING:
    from reconciler.spec.load import Repository

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]


@dataclass(frozen=True, slots=True)
class Where:
    """Which specs, whose, and which server. ``settings`` count instead of ``reconciler.yaml``, where they are given."""

    paths: tuple[str, ...] = ("specs",)
    environment: str | None = None
    server: str | None = None
    owner: str | None = None
    settings: bytes | None = None

    @property
    def start(self) -> Path:
        """Where the search for the repository's root begins."""
        return Path(self.paths[0]) if self.paths[0] != "-" else Path()


@dataclass(frozen=True, slots=True)
class Which:
    """Which part of the specs, and how much may be destroyed."""

    targets: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    recreate: tuple[str, ...] = ()
    max_prune: int | None = None
    allow_empty: bool = False
    take_over: tuple[str, ...] = ()

    def to_options(self, repository: Repository) -> Options:
        """Return what the planner reads."""
        return Options(
            targets=self.targets,
            excludes=self.excludes,
            recreate=frozenset(self.recreate),
            max_prune=None if self.max_prune is None else MaxPrune(count=self.max_prune, share=1),
            empty=repository.empty,
            allow_empty=self.allow_empty,
            partial=is_partial(repository.paths, repository.root),
            take_over=self.take_over,
        )

    def check(self, repository: Repository, plan: Plan) -> None:
        """Make sure that what the command line names exists.

        Raises:
            UsageError: it does not.
        """
        for name in self.recreate:
            if name not in {spec.name for spec in repository.desired}:
                raise UsageError(f"--recreate {name}: there is no such spec.", hint="List them: reconciler status")
        if self.targets and not plan.changes:
            globs = ", ".join(self.targets)
            raise UsageError(
                f"--target {globs}: no spec and no job of ours has such a name.", hint="List them: reconciler status"
            )


def _apply(function: Command, *decorators: Decorator) -> Command:
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


paths_argument: Decorator = click.argument("paths", nargs=-1, metavar="[PATHS]...")
environment_option: Decorator = click.option(
    "-e", "--environment", metavar="NAME", envvar="RECONCILER_ENVIRONMENT", help="An environment of reconciler.yaml."
)


def where_options(function: Command, paths: Decorator = paths_argument) -> Command:
    """Add PATHS, --environment, --server and --owner, passed on as one ``where``."""

    @functools.wraps(function)
    def wrapper(
        *args: object,
        paths: tuple[str, ...],
        environment: str | None,
        server: str | None,
        owner: str | None,
        **kwargs: object,
    ) -> object:
        where = Where(paths or ("specs",), environment, server, owner)
        return function(*args, where=where, **kwargs)

    return _apply(
        wrapper,
        paths,
        environment_option,
        click.option(
            "--server",
            metavar="URL|PROFILE|local",
            help="'local' is the embedded server. Default: RECONCILER_SERVER, reconciler.yaml, then OPENAI_BASE_URL.",
        ),
        click.option(
            "--owner",
            metavar="NAME",
            help="Whose jobs these are. Default: RECONCILER_OWNER, reconciler.yaml, the git remote.",
        ),
    )


take_over_option: Decorator = click.option(
    "--take-over", multiple=True, metavar="OWNER", help="Let another owner's jobs count too; may be repeated."
)


def which_options(function: Command) -> Command:
    """Add --target, --exclude, --recreate, --max-prune, --allow-empty and --take-over, passed on as one ``which``."""

    @functools.wraps(function)
    def wrapper(
        *args: object,
        target: tuple[str, ...],
        exclude: tuple[str, ...],
        recreate: tuple[str, ...],
        max_prune: int | None,
        allow_empty: bool,
        take_over: tuple[str, ...],
        **kwargs: object,
    ) -> object:
        which = Which(target, exclude, recreate, max_prune, allow_empty, take_over)
        return function(*args, which=which, **kwargs)

    return _apply(
        wrapper,
        click.option("--target", multiple=True, metavar="GLOB", help="Only specs of these names; may be repeated."),
        click.option("--exclude", multiple=True, metavar="GLOB", help="Leave specs of these names out."),
        click.option("--recreate", multiple=True, metavar="NAME", help="Start a cancelled or failed job again."),
        click.option(
            "--max-prune",
            type=click.IntRange(min=0),
            metavar="N",
            help="Allow this many jobs that lost their spec to be cancelled.",
        ),
        click.option("--allow-empty", is_flag=True, help="Allow paths without a spec to cancel all that is ours."),
        take_over_option,
    )


def format_option(*formats: str) -> Decorator:
    """Add --format with the first as default."""
    return click.option(
        "--format", "form", type=click.Choice(formats), default=formats[0], show_default=True, help="How to print it."
    )
