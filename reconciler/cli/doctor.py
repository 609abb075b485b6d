"""``reconciler doctor``: whether everything is as it must be, and where each value comes from."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path

import click

from reconciler import __version__
from reconciler.api.client import Client
from reconciler.api.retry import Backoff
from reconciler.api.server import Local, Server, choose, resolve_server
from reconciler.cli.options import Where, format_option, where_options
from reconciler.cli.secrets import SECRETS
from reconciler.cli.session import LOCAL, STATE, described_servers, run_async
from reconciler.cli.terminal import Terminal
from reconciler.errors import ReconcilerError, UsageError
from reconciler.observe.probe import Check, probe
from reconciler.report.doctor import doctor_json, render_doctor
from reconciler.report.document import to_text
from reconciler.spec.config import Config, find_root, load_config, named_owner, resolve_owner
from reconciler.spec.tree import CONFIG

_LIBRARIES = ("httpx", "pydantic", "ruamel.yaml", "ryaml")
_ONCE = Backoff(attempts=2, total=10)


@click.command()
@where_options
@format_option("text", "json")
def command(where: Where, form: str) -> int:
    """Check settings, server and key, and say where each value comes from. Changes nothing anywhere.

    Every check is made, whatever the ones before it found. The exit code is 1 where one failed.
    """
    checks = run_async(_checks(where))
    if form == "json":
        click.echo(to_text(doctor_json(checks)), nl=False)
    else:
        terminal = Terminal.of(sys.stdout)
        click.echo(render_doctor(checks, color=terminal.color, width=terminal.width), nl=False)
    return 1 if any(check.state == "failed" for check in checks) else 0


async def _checks(where: Where) -> list[Check]:
    root = find_root(Path(where.paths[0]) if where.paths[0] != "-" else Path())
    config, settings = _settings(root, where)
    server, chosen = _chosen(where, config)
    checks = [_versions(), settings, _owner(where, config, root, local=isinstance(server, Local)), chosen]
    if isinstance(server, Local):
        server, running = _running(root)
        checks.append(running)
    if server is not None:
        SECRETS.add([server.key or ""])
        checks += [_key(server), Check("lag", "ok", f"lists may be {server.lag:g} s late, by the settings")]
        checks += [check async for check in _probed(server)]
    return checks


def _versions() -> Check:
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    here = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"
    return Check("versions", "ok", f"reconciler {__version__}, {here}, {libraries}")


def _settings(root: Path, where: Where) -> tuple[Config, Check]:
    try:
        config, document = load_config(root)
        config = config.within(where.environment)
    except ReconcilerError as error:
        return Config(), _fault("settings", error)
    found = str(root / CONFIG) if document else f"no {CONFIG} in {root}: defaults"
    return config, Check("settings", "ok", found + (f", environment {where.environment}" if where.environment else ""))


def _owner(where: Where, config: Config, root: Path, *, local: bool) -> Check:
    try:
        owner = resolve_owner(
            config, flag=where.owner, env=os.environ, root=root, environment=where.environment, local=local
        )
    except UsageError as error:
        return _fault("owner", error)
    _, origin = named_owner(config, flag=where.owner, env=os.environ, root=root, local=local)
    return Check("owner", "ok", f"{owner}, from {origin}")


def _chosen(where: Where, config: Config) -> tuple[Server | Local | None, Check]:
    default, profiles = described_servers(config)
    _, origin = choose(where.server, default=default, env=os.environ)
    try:
        server = resolve_server(where.server, default=default, profiles=profiles, env=os.environ)
    except UsageError as error:
        return None, _fault("choice of server", error)
    name = "the embedded server" if isinstance(server, Local) else server.base_url
    return server, Check("choice of server", "ok", f"{name}, from {origin}")


def _running(root: Path) -> tuple[Server | None, Check]:
    """Find the embedded server where one runs; none is started, since it would go on with its jobs."""
    from reconciler.server.local import find_running  # noqa: PLC0415 - only those who use it load it

    found = find_running(root / STATE)
    if found is None:
        return None, Check("server", "unknown", "does not run now; a command that needs it opens it")
    return Server(LOCAL, found.url, found.api_key, lag=0), Check("embedded server", "ok", f"runs at {found.url}")


def _key(server: Server) -> Check:
    if server.key is None:
        return Check("key's variable", "ok", "none: no key is sent")
    return Check("key's variable", "ok", f"{server.key_env} is set" if server.key_env else "the embedded server's own")


async def _probed(server: Server) -> AsyncIterator[Check]:
    async with Client(server, backoff=_ONCE) as client:
        async for check in probe(client):
            yield check


def _fault(name: str, error: ReconcilerError) -> Check:
    return Check(name, "failed", error.message, error.hint)
