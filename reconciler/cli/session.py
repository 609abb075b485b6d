"""From a command line to everything a command needs: specs, owner, server, client."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from reconciler.api.client import Client
from reconciler.api.files import Uploads
from reconciler.api.server import Local, Profile, Server, resolve_server
from reconciler.api.types import Event
from reconciler.apply.follow import Poll
from reconciler.apply.world import World
from reconciler.cache import Cache
from reconciler.cli.options import Where
from reconciler.cli.say import in_json, logged, warn
from reconciler.cli.secrets import SECRETS
from reconciler.cli.terminal import Terminal
from reconciler.loop import Reconciler
from reconciler.observe.made import Made
from reconciler.observe.read import observe
from reconciler.observe.state import Observed
from reconciler.plan.planner import Options
from reconciler.report.escape import clean
from reconciler.report.progress import Progress, progress
from reconciler.spec.config import Config, ServerProfile, find_root, load_config, resolve_owner
from reconciler.spec.config import Server as DescribedServer
from reconciler.spec.load import Repository, load

STATE = ".reconciler"
"""The directory, below the repository's root, for the cache and the embedded server."""

LOCAL = "local"
"""What the embedded server is called, wherever it runs."""

T = TypeVar("T")


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a command's asynchronous part; Ctrl-C cancels it and is raised again."""
    return asyncio.run(coroutine)


@contextmanager
def load_specs(where: Where) -> Iterator[tuple[Repository, Cache]]:
    """Load specs and data, say their warnings, and keep the cache open."""
    with closing(Cache(find_root(where.start) / STATE / "cache.db")) as cache:
        repository = load(
            where.paths,
            environment=where.environment,
            stdin=sys.stdin.buffer,
            cache=cache,
            settings=where.settings,
        )
        for warning in repository.warnings:
            warn(clean(str(warning)))
        yield repository, cache


def owner_of(where: Where) -> str:
    """Say whose jobs these are, by the settings alone: no spec is read, so none can be at fault.

    Raises:
        ReconcilerError: the settings are at fault, or nothing names an owner.
    """
    root = find_root(where.start)
    config = load_config(root, content=where.settings)[0].within(where.environment)
    return resolve_owner(config, flag=where.owner, env=os.environ, root=root, environment=where.environment, local=True)


@dataclass(frozen=True)
class Session:
    """One command's specs, owner and open connection.

    ``server`` is the base URL, or ``local``; ``progress`` is entered by commands that take long; ``made`` remembers the
    jobs that were made.
    """

    repository: Repository
    owner: str
    server: str
    client: Client
    cache: Cache
    progress: Progress
    made: Made

    @property
    def afterwards(self) -> str:
        """What becomes of the jobs once this command has ended, in words."""
        if self.client.server.app is not None:
            return "The jobs are kept as they are; the next command with --server local goes on with them."
        return "The jobs go on on the server; the same command follows them again."

    async def observe(self, take_over: Sequence[str] = ()) -> Observed:
        """Read everything of ours on the server, and what is taken over."""
        return await observe(
            self.client,
            self.owner,
            self.repository.desired,
            cache=self.cache,
            now=time.time,
            made=self.made,
            take_over=take_over,
        )

    def reconciler(self, options: Options) -> Reconciler:
        """Return what plans for these specs."""
        return Reconciler(
            self.client,
            self.server,
            self.owner,
            self.repository.desired,
            self.repository.config.policy,
            options,
            self.cache,
            time.time,
            self.repository.root,
            made=self.made,
            note=self.progress.note,
        )

    def world(self, observed: Observed, concurrency: int) -> World:
        """Return what applies for these specs; a server that shows jobs of ours is known to keep metadata."""
        return World(
            api=self.client,
            files=Uploads(self.client, self.repository.root, on_progress=self.progress.upload, cache=self.cache),
            owner=self.owner,
            specs=World.index(self.repository.desired),
            follower=self.progress,
            clock=time.monotonic,
            sleep=asyncio.sleep,
            lag=self.client.server.lag,
            proven=bool(observed.jobs),
            concurrency=concurrency,
            made=self.made,
        )

    def poll(self) -> Poll:
        """Return how often to look at jobs: the embedded server is near, and its jobs are short."""
        events = self._newest_events if sys.stderr.isatty() else None
        return Poll(0.1, 0.5, events) if self.server == LOCAL else Poll(events=events)

    async def _newest_events(self, job_id: str) -> list[Event]:
        return (await self.client.events(job_id, limit=5)).data


@asynccontextmanager
async def open_session(where: Where) -> AsyncIterator[Session]:
    """Load the specs and connect to the server."""
    with load_specs(where) as (repository, cache), _progress(Terminal.of(sys.stderr)) as shown:

        def make(server: Server) -> Client:
            return Client(server, on_retry=lambda retry: shown.note(str(retry)))

        async with connect(where, repository, cache, shown, make) as session:
            yield session


@asynccontextmanager
async def connect(
    where: Where, repository: Repository, cache: Cache, shown: Progress, make: Callable[[Server], Client]
) -> AsyncIterator[Session]:
    """Connect to the server that the command line or the settings choose, with the client that ``make`` makes."""
    choice = choose_server(where, repository.config)
    owner = owner_for(where, repository, choice)
    async with AsyncExitStack() as stack:
        server = choice
        if isinstance(server, Local):
            server = await stack.enter_async_context(_local(repository.root / STATE))
        SECRETS.add([server.key or ""])
        client = await stack.enter_async_context(make(server))
        name = LOCAL if isinstance(choice, Local) else server.base_url
        yield Session(repository, owner, name, client, cache, shown, Made.on(server, owner, cache))


def owner_for(where: Where, repository: Repository, choice: Server | Local) -> str:
    """Say whose jobs these are, on the server chosen."""
    return resolve_owner(
        repository.config,
        flag=where.owner,
        env=os.environ,
        root=repository.root,
        environment=where.environment,
        local=isinstance(choice, Local),
    )


@contextmanager
def _progress(terminal: Terminal) -> Iterator[Progress]:
    """Choose how progress is shown; the log, where asked for, goes the same way."""
    if not logged():
        yield progress(sys.stderr, interactive=terminal.interactive, color=terminal.color)
        return
    from reconciler.cli.logs import JsonProgress, above  # noqa: PLC0415

    if in_json():
        yield JsonProgress()
        return
    shown = progress(sys.stderr, interactive=terminal.interactive, color=terminal.color)
    with above(shown.note) if terminal.interactive else nullcontext():
        yield shown


def choose_server(where: Where, config: Config) -> Server | Local:
    """Choose the server."""
    default, profiles = described_servers(config)
    return resolve_server(where.server, default=default, profiles=profiles, env=os.environ)


def described_servers(config: Config) -> tuple[str | Profile | None, dict[str, Profile]]:
    """Turn what the settings describe into profiles: the default, and all by name."""
    described = config.server
    default: str | Profile | None
    if described is not None and not isinstance(described, str):
        default = _profile(described, config.servers.get(described.profile or ""))
    else:
        default = described
    return default, {name: _profile(server) for name, server in config.servers.items()}


def _profile(described: ServerProfile | DescribedServer, base: ServerProfile | None = None) -> Profile:
    """Return a profile: what is described, over the one it starts from."""
    said = base.model_dump(exclude_unset=True) if base else {}
    said |= described.model_dump(exclude_unset=True, exclude={"profile"})
    return Profile(**{key: value for key, value in said.items() if value is not None})


@asynccontextmanager
async def _local(directory: Path) -> AsyncIterator[Server]:
    """Open the embedded server: the one already running on the directory, else in this process."""
    from reconciler.server.local import open_local  # noqa: PLC0415 - only those who use it load it

    async with open_local(directory) as found:
        yield Server(LOCAL, found.base_url, found.api_key, lag=0, app=found.app)
