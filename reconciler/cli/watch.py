"""``reconciler watch``: follow the specs and the server, and converge, until interrupted."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import (
    AsyncExitStack,
    asynccontextmanager,
    closing,
    nullcontext,
)
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from reconciler.apply.world import World
from reconciler.cache import Cache
from reconciler.cli.announce import WatchClient, ear_of, metrics_of
from reconciler.cli.attended import at_a_terminal, ending, listen, pose, write
from reconciler.cli.notifying import notify_options, notifying
from reconciler.cli.options import Where, Which, where_options, which_options
from reconciler.cli.secrets import SECRETS
from reconciler.cli.session import LOCAL, STATE, Session, choose_server, connect, owner_for, run_async
from reconciler.cli.watch_screen import hint, on_screen, wanted
from reconciler.cli.watch_ui import desk_of, elsewhere, served
from reconciler.errors import ReconcilerError, UsageError
from reconciler.loop import Reconciler
from reconciler.observe.state import Observed
from reconciler.report.escape import clean
from reconciler.spec.config import find_root
from reconciler.spec.load import Repository
from reconciler.spec.notifications import Event
from reconciler.watch.asking import Asking
from reconciler.watch.branch import Branch, Ref, clone_directory
from reconciler.watch.engine import Level, Terms, Watch
from reconciler.watch.history import History
from reconciler.watch.lock import only_one
from reconciler.watch.notice import Notice
from reconciler.watch.snapshot import Pinned, Snapshot, Source
from reconciler.watch.tempo import Tempo
from reconciler.watch.voice import Voice
from reconciler.watch.worktree import WorkTree

_SHORTEST_LOCAL = 0.5
"""Seconds between two looks at least, at the embedded server: it is near, and its jobs are short."""
_MOST_OFTEN = 15.0
"""Seconds between two questions to a git remote, at least."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the command line says beside specs and server."""

    level: str
    interval: float
    auto_approve: bool
    max_create: int | None
    url: str | None
    ref: str
    listen: str | None
    ui: bool
    looks: int | None
    dashboard: bool | None
    notify: tuple[Event, ...] | None
    notify_digest: float

    @property
    def terms(self) -> Terms:
        """What the watch may do."""
        return Terms(Level(self.level), Tempo(self.interval), self.max_create, self.looks)

    @property
    def fixed(self) -> str:
        """Why specs cannot be edited while this goes on; empty where they can."""
        if self.url is not None:
            return f"They are those of {self.ref}: change them there."
        return "" if self.level == Level.APPLY else "This watch does not follow the files: change them, then apply."

    @property
    def followed(self) -> Ref | None:
        """The ref to follow instead of files."""
        if self.url is None:
            return None
        return Ref(str(Path(self.url).absolute()) if Path(self.url).is_dir() else self.url, self.ref)


@click.command()
@where_options
@which_options
@click.option("--apply", "level", flag_value="apply", default=True, help="Follow the files: the default.")
@click.option("--heal", "level", flag_value="heal", help="Keep to the specs as they are now; undo drift from them.")
@click.option("--observe", "level", flag_value="observe", help="Report drift, and change nothing.")
@click.option(
    "--interval",
    type=click.FloatRange(1, 86_400),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Look at the server at least this often; after changes more often for a while.",
)
@click.option("--auto-approve", is_flag=True, help="Start new runs without asking; without a terminal they wait.")
@click.option("--max-create", type=click.IntRange(1), metavar="N", help="Start at most so many runs in one look.")
@click.option("--git", "url", metavar="URL|PATH", help="Follow a branch of this repository, apart from any work tree.")
@click.option("--ref", default="main", show_default=True, metavar="NAME", help="The branch or tag; with --git.")
@click.option(
    "--listen",
    metavar="[HOST:]PORT",
    help="Take webhooks (POST /webhook, RECONCILER_WEBHOOK_SECRET); answer /healthz, /readyz and /metrics.",
)
@click.option("--ui", is_flag=True, help="Serve a dashboard too, at --listen or else at 127.0.0.1:8766.")
@click.option(
    "--dashboard/--no-dashboard",
    default=None,
    help="A live table with keys instead of lines.  [default: at a terminal, with reconciler[dashboard] installed]",
)
@notify_options
@click.option("--looks", type=click.IntRange(1), metavar="N", help="End after so many looks.")
def command(where: Where, which: Which, **options: Any) -> None:  # noqa: ANN401 - what _Asked says
    """Follow the specs and the server, and converge, until interrupted: saved files are acted on at once.

    A file with an error is read as it was when it was last good. New runs are asked about, unless --auto-approve. With
    --git, PATHS are those of the branch.
    """
    if which.recreate:
        raise UsageError(
            "--recreate would start it again each time.", hint="Run once: reconciler apply --recreate NAME"
        )
    if "-" in where.paths:
        raise UsageError("Standard input cannot be watched.", hint="Give files or directories.")
    run_async(_watch(where, which, _Asked(**options)))


async def _watch(where: Where, which: Which, asked: _Asked) -> None:
    history = History(lambda text: clean(SECRETS.redact(text)))
    shown = wanted(asked.dashboard)
    voice = Voice(history.hear if shown else history.before(write))
    async with AsyncExitStack() as stack:
        specs = await stack.enter_async_context(_specs(where, asked))
        snapshot = specs.first
        cache = stack.enter_context(closing(Cache(specs.state / "cache.db")))
        session = await stack.enter_async_context(connect(where, snapshot.repository, cache, voice, WatchClient))
        bench = _Bench(session, where, which, voice)
        follows = asked.terms.level is not Level.HEAL
        terms = asked.terms
        if session.server == LOCAL:
            terms = replace(terms, tempo=replace(terms.tempo, shortest=_SHORTEST_LOCAL))
        interactive = at_a_terminal() and not shown
        ask = pose if interactive else (lambda question: elsewhere(voice, question)) if asked.ui or shown else None
        asking = Asking(voice, auto=asked.auto_approve, pose=ask)
        metrics = metrics_of(session) if asked.listen or asked.ui else None
        source = specs.source if follows else Pinned(snapshot)
        watch = Watch(source, bench, terms, asking, voice, meter=metrics)
        watch.hear = await stack.enter_async_context(notifying(asked.notify, asked.notify_digest, session, voice))
        notice = Notice(specs.files if follows else list, watch.stirred, lambda why: _unable(voice, why))
        stack.push_async_callback(notice.close)
        voice.say(_beginning(session, terms), event="start")
        if asked.listen or asked.ui:
            desk = desk_of(session, where, watch, asking, history, asked.fixed) if asked.ui else None
            ear = ear_of(watch, terms.tempo.interval, metrics)
            said = await stack.enter_async_context(served(asked.listen, ear, desk, os.environ))
            voice.say(said, event="start")
        if how := hint(asked.dashboard):
            voice.say(how, event="start")
        if interactive:
            listen(asking, watch)
        with ending(watch, voice) as end:
            async with on_screen(session, where, watch, asking, history, end, asked.fixed) if shown else nullcontext():
                await watch.run(notice.arm)
    Voice(write).say("Ended. The jobs go on; the next run looks at what is there.", event="end")


@dataclass(frozen=True)
class _Specs:
    """Where specs come from, which files to watch, and the directory for locks, caches and the embedded server."""

    source: Source
    first: Snapshot
    files: Callable[[], Iterable[str]]
    state: Path


@asynccontextmanager
async def _specs(where: Where, asked: _Asked) -> AsyncIterator[_Specs]:
    """Open and read what is followed, alone: a clone from the start, a work tree once it is known to be one."""
    if followed := asked.followed:
        clone = clone_directory(followed, where.environment, os.environ)

        def make() -> WorkTree:
            return _tree([str(clone / path) for path in where.paths], where, clone, clone, whole=True)

        branch = Branch(followed, clone, make, every=min(_MOST_OFTEN, asked.interval))
        with only_one(clone / STATE, where.environment), closing(branch):
            yield _Specs(branch, await branch.read(), list, clone / STATE)
        return
    root = find_root(Path(where.paths[0]))
    with closing(_tree(where.paths, where, Path.cwd(), root)) as tree:
        first = await tree.read()
        with nullcontext() if asked.level == Level.OBSERVE else only_one(root / STATE, where.environment):
            yield _Specs(tree, first, lambda: tree.files, root / STATE)


def _tree(paths: Sequence[str], where: Where, cwd: Path, root: Path, *, whole: bool = False) -> WorkTree:
    return WorkTree(paths, where.environment, cwd=cwd, cache_file=root / STATE / "cache.db", whole=whole)


@dataclass(frozen=True)
class _Bench:
    """Makes what a tick works with from the session; the settings' owner and server stay those of the start."""

    session: Session
    where: Where
    which: Which
    voice: Voice

    def reconciler(self, repository: Repository) -> Reconciler:
        if repository is not self.session.repository:
            self._compare(repository)
        session = replace(self.session, repository=repository)
        return replace(session.reconciler(self.which.to_options(repository)), root=None, words=False)

    def world(self, repository: Repository, observed: Observed) -> World:
        return replace(self.session, repository=repository).world(observed, concurrency=8)

    def _compare(self, repository: Repository) -> None:
        try:
            choice = choose_server(self.where, repository.config)
            moved = owner_for(self.where, repository, choice) != self.session.owner
            moved = moved or (choice != choose_server(self.where, self.session.repository.config))
        except ReconcilerError:
            moved = True
        words = (
            "The settings name another owner or server now: those of the start are kept until this is started again."
        )
        self.voice.topic(
            "settings", words if moved else "", over="The settings name the owner and server of the start."
        )


def _beginning(session: Session, terms: Terms) -> str:
    count = len(session.repository.desired)
    what = {Level.OBSERVE: "Observing", Level.HEAL: "Healing", Level.APPLY: "Watching"}[terms.level]
    specs = f"{count} {'spec' if count == 1 else 'specs'}"
    return f"{what} {specs} of {session.owner} on {session.server}, every {terms.tempo.interval:g} s."


def _unable(voice: Voice, why: str) -> None:
    voice.topic("files", f"The file system cannot be watched ({why}): files are looked at when the server is.")
