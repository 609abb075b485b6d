"""``reconciler doctor``: whether everything is as it must be, and where each value comes from."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import AsyncIterator, Sequence
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
from reconciler.observe.probe import PROBED, Check, probe
from reconciler.report.doctor import doctor_json, render_doctor
from reconciler.report.document import to_text
from reconciler.spec.config import OWNER_VARIABLE, Config, find_root, load_config, named_owner, resolve_owner
from reconciler.spec.tree import CONFIG

_LIBRARIES = ("httpx", "pydantic", "ruamel.yaml", "ryaml")
_ONCE = Backoff(attempts=1)
_LOCAL_LAG = 0
_UNREAD = "cannot be told: reconciler.yaml may say it, and its settings cannot be used"


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
    choice, chosen = _chosen(where, config)
    checks = [_versions(), settings, _owner(where, config, root, local=isinstance(choice, Local)), chosen]
    if choice is None:
        return checks + _unknown(("key's variable", "lag", *PROBED), "no server is known to look at")
    server = _running(root) if isinstance(choice, Local) else choice
    if server is None:
        return [
            *checks,
            Check("key's variable", "ok", "none: the embedded server needs none"),
            _lag(_LOCAL_LAG),
            Check("server", "unknown", "does not run now; the first command that needs it opens it"),
            *_unknown(PROBED[1:], "not probed"),
        ]
    SECRETS.add([server.key or ""])
    return [*checks, _key(server), _lag(server.lag), *[check async for check in _probed(server)]]


def _unknown(names: Sequence[str], why: str) -> list[Check]:
    return [Check(name, "unknown", why) for name in names]


def _versions() -> Check:
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    here = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"
    return Check("versions", "ok", f"reconciler {__version__}, {here}, {libraries}")


def _settings(root: Path, where: Where) -> tuple[Config | None, Check]:
    try:
        config, document = load_config(root)
        config = config.within(where.environment)
    except ReconcilerError as error:
        return None, _fault("settings", error)
    found = str(root / CONFIG) if document else f"no {CONFIG} in {root}: defaults"
    return config, Check("settings", "ok", found + (f", environment {where.environment}" if where.environment else ""))


def _owner(where: Where, config: Config | None, root: Path, *, local: bool) -> Check:
    known = config or Config()
    _, origin = named_owner(known, flag=where.owner, env=os.environ, root=root, local=local)
    if config is None and (where.environment or origin not in ("--owner", OWNER_VARIABLE)):
        return Check("owner", "unknown", _UNREAD)
    try:
        owner = resolve_owner(
            known, flag=where.owner, env=os.environ, root=root, environment=where.environment, local=local
        )
    except UsageError as error:
        return _fault("owner", error)
    return Check("owner", "ok", f"{owner}, from {origin}")


def _chosen(where: Where, config: Config | None) -> tuple[Server | Local | None, Check]:
    """Choose the server. Settings that cannot be read are never passed over: a key would go to another server."""
    name = "choice of server"
    default, profiles = described_servers(config or Config())
    word, origin = choose(where.server, default=default, env=os.environ)
    if config is None and not (origin in ("--server", "RECONCILER_SERVER") and _says_all(word)):
        return None, Check(name, "unknown", _UNREAD)
    try:
        server = resolve_server(where.server, default=default, profiles=profiles, env=os.environ)
    except UsageError as error:
        return None, _fault(name, error)
    shown = "the embedded server" if isinstance(server, Local) else server.base_url
    return server, Check(name, "ok", f"{shown}, from {origin}")


def _says_all(word: object) -> bool:
    """Whether a choice of server means the same whatever the settings say."""
    return isinstance(word, str) and (word == LOCAL or "://" in word)


def _running(root: Path) -> Server | None:
    """Find the embedded server where one runs; none is started, since it would go on with its jobs."""
    from reconciler.server.local import find_running  # noqa: PLC0415 - only those who use it load it

    found = find_running(root / STATE)
    return Server(LOCAL, found.url, found.api_key, lag=_LOCAL_LAG) if found else None


def _key(server: Server) -> Check:
    name = "key's variable"
    if server.key is None:
        unset = f"{server.key_env} is not set" if server.key_env else "none"
        return Check(name, "ok", f"{unset}: no key is sent")
    return Check(name, "ok", f"{server.key_env} is set" if server.key_env else "none: the embedded server's own key")


def _lag(seconds: float) -> Check:
    return Check("lag", "ok", f"lists may be {seconds:g} s late, by the settings")


async def _probed(server: Server) -> AsyncIterator[Check]:
    try:
        opened = Client(server, backoff=_ONCE)
    except UsageError as error:  # a proxy or certificates that the environment names
        yield _fault("server", error)
        for check in _unknown(PROBED[1:], "the server could not be asked"):
            yield check
        return
    async with opened as client:
        async for check in probe(client):
            yield check


def _fault(name: str, error: ReconcilerError) -> Check:
    return Check(name, "failed", error.message, error.hint)
