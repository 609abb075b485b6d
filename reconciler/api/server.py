"""Which server to speak to, with which key. Values only: nothing here opens a connection.

A key comes from an environment variable and from nowhere else, and is never part of a message.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from reconciler.errors import MissingKey, UsageError

Auth = Literal["bearer", "api-key"]

OPENAI = "https://api.openai.com/v1"
DEFAULT_LAG = 10.0

_AZURE = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
_KEY = re.compile(r"[\x21-\x7e]+")
_BOTH_WAYS = "Set OPENAI_API_KEY to use OpenAI's server, or pass --server local to use the embedded one."


@dataclass(frozen=True, slots=True)
class Server:
    """A server, ready to be spoken to.

    ``base_url`` has no trailing slash. ``lag`` bounds, in seconds, how long a list may miss a job that exists.
    ``key_env`` is the variable the key came from, for hints. ``app`` is an ASGI application to be called in this
    process instead of over the network.
    """

    name: str
    base_url: str
    key: str | None = field(default=None, repr=False)
    auth: Auth = "bearer"
    organization: str | None = None
    project: str | None = None
    lag: float = DEFAULT_LAG
    app: object | None = field(default=None, repr=False)
    key_env: str | None = None


@dataclass(frozen=True, slots=True)
class Local:
    """The embedded server in ``.reconciler/``, not yet opened."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A server as ``reconciler.yaml`` describes it: never a secret, only the names of variables.

    Without ``key_env`` no key is sent. ``auth`` None is ``api-key`` on Azure's hosts and ``bearer`` elsewhere.
    """

    base_url: str
    key_env: str | None = None
    auth: Auth | None = None
    organization_env: str | None = None
    project_env: str | None = None
    lag: float = DEFAULT_LAG


def resolve_server(
    choice: str | None,
    *,
    default: str | Profile | None = None,
    profiles: Mapping[str, Profile],
    env: Mapping[str, str],
) -> Server | Local:
    """Decide on the server: ``choice``, RECONCILER_SERVER, ``default``, then OPENAI_BASE_URL and OPENAI_API_KEY.

    ``choice`` and ``default`` are a URL, the name of a profile, or ``local``.

    Raises:
        UsageError: nothing is chosen, or what is chosen is unknown, or its key is missing or unusable.
    """
    chosen, origin = choose(choice, default=default, env=env)
    if chosen is None:
        raise MissingKey("No server is chosen and no key is set.", hint=_BOTH_WAYS)
    if isinstance(chosen, Profile):
        return _profile("reconciler.yaml", chosen, env)
    if not origin.startswith("OPENAI_"):
        return _named(chosen, origin, profiles, env)
    server = _by_url(chosen, "OPENAI_BASE_URL", env)
    return replace(server, organization=env.get("OPENAI_ORG_ID") or None, project=env.get("OPENAI_PROJECT_ID") or None)


def choose(
    choice: str | None, *, default: str | Profile | None, env: Mapping[str, str]
) -> tuple[str | Profile | None, str]:
    """Say what names the server, and where that stands; None where nothing does."""
    for chosen, origin in (
        (choice, "--server"),
        (env.get("RECONCILER_SERVER"), "RECONCILER_SERVER"),
        (default, "reconciler.yaml: server"),
        (env.get("OPENAI_BASE_URL"), "OPENAI_BASE_URL"),
        (OPENAI if env.get("OPENAI_API_KEY") else None, "OPENAI_API_KEY"),
    ):
        if chosen:
            return chosen, origin
    return None, ""


def _named(chosen: str, origin: str, profiles: Mapping[str, Profile], env: Mapping[str, str]) -> Server | Local:
    if chosen == "local":
        return Local()
    if chosen in profiles:
        return _profile(chosen, profiles[chosen], env)
    if "://" in chosen:
        return _by_url(chosen, origin, env)
    if "@" in chosen:
        raise UsageError(
            f"{origin} holds a user name or password, and names no profile.",
            hint="Give a URL that starts with http:// or https://, and the key in an environment variable.",
        )
    known = ", ".join(sorted(profiles)) or "none"
    near = difflib.get_close_matches(chosen, [*profiles, "local"], n=1)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    raise UsageError(
        f"{origin} names the server {chosen[:80]!r}, which is no profile of reconciler.yaml (known: {known}).{guess}",
        hint="Give a profile, 'local', or a URL that starts with http:// or https://.",
    )


def _profile(name: str, profile: Profile, env: Mapping[str, str]) -> Server:
    url = _checked(profile.base_url, f"The base_url of server {name!r}")
    return Server(
        name=name,
        base_url=_base(url),
        key=_variable(profile.key_env, name, env) if profile.key_env else None,
        auth=profile.auth or _auth(url),
        organization=_variable(profile.organization_env, name, env) if profile.organization_env else None,
        project=_variable(profile.project_env, name, env) if profile.project_env else None,
        lag=profile.lag,
        key_env=profile.key_env,
    )


def _by_url(text: str, origin: str, env: Mapping[str, str]) -> Server:
    url = _checked(text, origin)
    base_url = _base(url)
    key = _variable("OPENAI_API_KEY", base_url, env) if env.get("OPENAI_API_KEY") else None
    if key is None and url.hostname == "api.openai.com":
        raise MissingKey("OpenAI's server needs a key, and OPENAI_API_KEY is not set.", hint=_BOTH_WAYS)
    return Server(str(url.hostname), base_url, key, _auth(url), key_env="OPENAI_API_KEY")


def _variable(variable: str, server: str, env: Mapping[str, str]) -> str:
    """Read a value that goes into a header. It is never echoed, since it may be a secret."""
    value = env.get(variable, "")
    if not value:
        raise MissingKey(
            f"Server {server!r} takes its key or name from {variable}, which is not set.",
            hint=f"Set {variable}, or choose another server with --server.",
        )
    if not _KEY.fullmatch(value):
        raise UsageError(
            f"{variable} holds a space, a line break or a character outside ASCII, which no key has.",
            hint=f"Set {variable} again, without quotes or line breaks around the value.",
        )
    return value


def _checked(text: str, origin: str) -> SplitResult:
    try:
        url = urlsplit(text.strip())
        host, _ = url.hostname, url.port
    except ValueError:
        host, url = None, SplitResult("", "", "", "", "")
    if url.scheme not in ("http", "https") or not host:
        raise UsageError(f"{origin} is no URL of a server.", hint=f"It should look like {OPENAI}.")
    if "@" in url.netloc:
        raise UsageError(
            f"{origin} holds a user name or password.", hint="Put the key into an environment variable instead."
        )
    if url.query or url.fragment or not re.fullmatch(r"[\x21-\x7e]*", url.netloc + url.path):
        raise UsageError(f"{origin} must end with its path: no query, no fragment, no spaces.")
    return url


def _base(url: SplitResult) -> str:
    path = re.sub("/{2,}", "/", url.path).rstrip("/")
    if _is_azure(url) and path in ("", "/openai"):
        path = "/openai/v1"
    return f"{url.scheme}://{url.netloc.lower()}{path}"


def _auth(url: SplitResult) -> Auth:
    return "api-key" if _is_azure(url) else "bearer"


def _is_azure(url: SplitResult) -> bool:
    return (url.hostname or "").endswith(_AZURE)
