"""``reconciler watch``: follow the specs and the server, and converge, until interrupted."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    closing,
    contextmanager,
    nullcontext,
    suppress,
)
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from reconciler.api.client import Client
from reconciler.api.retry import Backoff
from reconciler.api.server import Server
from reconciler.api.webhooks import secret_of
from reconciler.apply.world import World
from reconciler.cache import Cache
from reconciler.cli.options import Where, Which, where_options, which_options
from reconciler.cli.say import in_json, say
from reconciler.cli.secrets import SECRETS
from reconciler.cli.session import LOCAL, STATE, Session, choose_server, connect, owner_for, run_async
from reconciler.cli.terminal import Terminal
from reconciler.errors import ReconcilerError, UsageError
from reconciler.loop import Reconciler
from reconciler.observe.state import Observed
from reconciler.report.escape import clean
from reconciler.report.style import paint
from reconciler.spec.config import find_root
from reconciler.spec.load import Repository
from reconciler.watch.asking import Asking
from reconciler.watch.branch import Branch, Ref, clone_directory
from reconciler.watch.engine import Level, Terms, Watch
from reconciler.watch.lock import only_one
from reconciler.watch.notice import Notice
from reconciler.watch.snapshot import Pinned, Snapshot, Source
from reconciler.watch.tempo import Tempo
from reconciler.watch.voice import Voice
from reconciler.watch.worktree import WorkTree

_PATIENCE = 20.0
"""Seconds in which a look in progress may end once a signal has come."""
_SHORTEST_LOCAL = 0.5
"""Seconds between two looks at least, at the embedded server: it is near, and its jobs are short."""
_MOST_OFTEN = 15.0
"""Seconds between two questions to a git remote, at least."""
_LONGEST_LOOK = 1800.0
"""Seconds after which a look that has not ended is taken to hang: a large upload takes its time."""
_STYLES = {"info": "", "warning": "warn", "error": "bad"}


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
    looks: int | None

    @property
    def terms(self) -> Terms:
        """What the watch may do."""
        return Terms(Level(self.level), Tempo(self.interval), self.max_create, self.looks)

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
    help="Take webhooks (POST /webhook, signed with RECONCILER_WEBHOOK_SECRET), and answer /healthz and /readyz.",
)
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
    voice = Voice(_write)
    async with AsyncExitStack() as stack:
        specs = await stack.enter_async_context(_specs(where, asked))
        snapshot = specs.first
        cache = stack.enter_context(closing(Cache(specs.state / "cache.db")))
        session = await stack.enter_async_context(connect(where, snapshot.repository, cache, voice, _client))
        bench = _Bench(session, where, which, voice)
        follows = asked.terms.level is not Level.HEAL
        terms = asked.terms
        if session.server == LOCAL:
            terms = replace(terms, tempo=replace(terms.tempo, shortest=_SHORTEST_LOCAL))
        interactive = _at_a_terminal()
        asking = Asking(voice, auto=asked.auto_approve, pose=_pose if interactive else None)
        watch = Watch(specs.source if follows else Pinned(snapshot), bench, terms, asking, voice)
        notice = Notice(specs.files if follows else list, watch.stirred, lambda why: _unable(voice, why))
        stack.push_async_callback(notice.close)
        voice.say(_beginning(session, terms), event="start")
        if asked.listen:
            url = await stack.enter_async_context(_heard(asked.listen, watch, terms.tempo.interval))
            voice.say(f"Listening on {url}.", event="start")
        if interactive:
            _listen(asking, watch)
        with _ending(watch, voice):
            await watch.run(notice.arm)
        voice.say("Ended. The jobs go on; the next run looks at what is there.", event="end")


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


def _client(server: Server) -> Client:
    """Make a client that gives up early: the next look comes soon, and says less than a wait of minutes."""
    return Client(server, backoff=Backoff(attempts=3, total=60.0))


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
        return replace(session.reconciler(self.which.to_options(repository)), root=None)

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


def _write(message: str, level: str, fields: Mapping[str, Any]) -> None:
    """Write a line: what happens to stdout, what is wrong to stderr; in JSON all of it goes to stderr."""
    text = SECRETS.redact(message)
    if in_json():
        say(text, level, **fields)
        return
    wrong = level != "info"
    color = Terminal.of(sys.stderr if wrong else sys.stdout).color
    line = [(time.strftime("%H:%M:%S "), "dim"), (clean(text), _STYLES[level])]
    click.echo(paint(line, color=color), err=wrong)


def _heard(listen: str, watch: Watch, interval: float) -> AbstractAsyncContextManager[str]:
    """Listen for webhooks, and for those who ask how it is."""
    from reconciler.watch.ear import Ear, address, listening  # noqa: PLC0415 - a web server, for those who want one

    pulse, started = watch.pulse, time.monotonic()

    def alive() -> tuple[bool, Mapping[str, object]]:
        since = time.monotonic() - (started if pulse.looked_at is None else pulse.looked_at)
        return since < interval + _LONGEST_LOOK, {"seconds_since_last_look": round(since, 1)}

    def ready() -> tuple[bool, Mapping[str, object]]:
        return pulse.seen_at is not None and not pulse.failed, {"error": SECRETS.redact(clean(pulse.failed))}

    host, port = address(listen)
    return listening(Ear(secret_of(os.environ), watch.ended, alive=alive, ready=ready), host, port)


def _pose(question: str) -> None:
    if in_json():
        say(f"{question} [y/N]")
    else:
        click.echo(f"{clean(question)} [y/N]", err=True)


def _at_a_terminal() -> bool:
    """Whether somebody can answer. A job in the background of a shell would be stopped for reading."""
    if not sys.stdin.isatty():
        return False
    if os.name != "posix":
        return True
    signal.signal(signal.SIGTTIN, signal.SIG_IGN)  # reading then fails, should it be sent there later
    return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()


def _listen(asking: Asking, watch: Watch) -> None:
    """Hear what a person types, in a thread: nothing else waits for it, and it ends with the process."""
    loop = asyncio.get_running_loop()

    def hear(line: str) -> None:
        if asking.answer(line):
            watch.soon()

    def read() -> None:
        with suppress(OSError, ValueError, RuntimeError):  # the terminal is gone, or the loop has ended
            for line in sys.stdin:
                loop.call_soon_threadsafe(hear, line)

    threading.Thread(target=read, name="answers", daemon=True).start()


def _unable(voice: Voice, why: str) -> None:
    voice.topic("files", f"The file system cannot be watched ({why}): files are looked at when the server is.")


@contextmanager
def _ending(watch: Watch, voice: Voice) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM end the watch after the look in progress, and another one at once."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    signals = (signal.SIGINT, signal.SIGTERM)
    stopped = False

    def end() -> None:
        nonlocal stopped
        if stopped and task is not None:
            task.cancel()
            return
        stopped = True
        if not watch.resting:
            voice.say("Ending with the look in progress; interrupt again to end at once.", event="ending")
        watch.stop()
        if task is not None:
            loop.call_later(_PATIENCE, task.cancel)

    if os.name == "posix" and threading.current_thread() is threading.main_thread():
        for number in signals:
            loop.add_signal_handler(number, end)
    try:
        yield
    except asyncio.CancelledError:
        if not stopped:
            raise
    finally:
        if os.name == "posix" and threading.current_thread() is threading.main_thread():
            for number in signals:
                loop.remove_signal_handler(number)
