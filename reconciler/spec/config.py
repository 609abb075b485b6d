"""``reconciler.yaml``: whose jobs these are, which server, which environments, and the limits."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, ValidationError, model_validator

from reconciler.errors import Problem, SpecError, UsageError
from reconciler.spec import documents
from reconciler.spec.documents import Path
from reconciler.spec.faults import dotted, faults
from reconciler.spec.model import FLAT, IN_WORDS, OneLine, Section, Spec
from reconciler.spec.notifications import Notifications
from reconciler.spec.overlay import merge
from reconciler.spec.policy import CURRENCY, Policy
from reconciler.spec.remote import git_remote
from reconciler.spec.tree import CONFIG
from reconciler.wording import did_you_mean

LOCAL = "local"
"""The embedded server, where a server is named."""
OWNER_VARIABLE = "RECONCILER_OWNER"
MAX_OWNER = 512

OVERRIDABLE = frozenset({*Spec.model_fields, *FLAT, "matrix"} - {"name", "adopt"})
"""What an environment may change in every spec."""

_ENVIRONMENT = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
IN_WORDS[CURRENCY] = "three capital letters, such as USD"
IN_WORDS[_ENVIRONMENT] = "a name of letters, digits, dots, dashes and underscores"


def _variable(name: object) -> object:
    if isinstance(name, str) and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
        raise ValueError(
            "must be the NAME of an environment variable, like OPENAI_API_KEY; a key itself never belongs in a file"
        )
    return name


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        secret = parts.username or parts.password or parts.query or parts.fragment
    except ValueError as error:
        raise ValueError("is not a URL") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be a URL such as https://api.openai.com/v1")
    if secret:
        raise ValueError("must not hold a user, a password or a query; a key's variable is named by key_env")
    return text


def _server_word(text: str) -> str:
    if "://" in text:
        return _url(text)
    if not re.fullmatch(_ENVIRONMENT, text):
        raise ValueError("must be a URL, the name of a profile in servers, or local")
    return text


EnvironmentName = Annotated[str, Field(pattern=_ENVIRONMENT)]
Variable = Annotated[str, BeforeValidator(_variable)]
BaseUrl = Annotated[str, Field(description="The API's base URL, such as .../v1."), AfterValidator(_url)]


class _Connection(Section):
    key_env: Annotated[Variable | None, Field(description="The environment variable that holds the key.")] = None
    auth: Annotated[
        Literal["bearer", "api-key"] | None,
        Field(
            description="How the key is sent: Authorization: Bearer, or api-key. By default what the host takes: "
            "api-key on Azure's, bearer elsewhere."
        ),
    ] = None
    organization_env: Annotated[Variable | None, Field(description="The variable that holds the organization.")] = None
    project_env: Annotated[Variable | None, Field(description="The variable that holds the project.")] = None
    lag: Annotated[
        float | None, Field(ge=0, le=3600, description="Seconds until a new job is sure to be in a listing.")
    ] = None


class ServerProfile(_Connection):
    """A server that speaks the fine-tuning API. Keys are named by their environment variable, never written here."""

    base_url: BaseUrl


class Server(_Connection):
    """A server described in place, or a profile with changes."""

    profile: Annotated[str | None, Field(description="A profile of servers that this one starts from.")] = None
    base_url: BaseUrl | None = None

    @model_validator(mode="after")
    def _says_where(self) -> Self:
        if not (self.profile or self.base_url):
            raise ValueError("needs base_url or profile")
        return self


def _long_forms(policy: object) -> object:
    """Accept ``max_active: 3``, ``max_prune: 5``, ``max_prune: 30%`` and a number as a price."""
    if not isinstance(policy, Mapping):
        return policy
    result = dict(policy)
    if type(active := result.get("max_active")) is int:
        result["max_active"] = {"total": active}
    prune = result.get("max_prune")
    if type(prune) is int:
        result["max_prune"] = {"count": prune}
    elif isinstance(prune, str):
        if not (found := re.fullmatch(r"(\d{1,3})\s*%", prune)):
            raise ValueError("max_prune must be a number, a share such as 30%, or {count, share}")
        result["max_prune"] = {"share": int(found[1]) / 100}
    if isinstance(prices := result.get("prices"), Mapping):
        result["prices"] = {m: {"per_million": p} if type(p) in (int, float) else p for m, p in prices.items()}
    return result


def _server_form(value: object) -> str:
    return "word" if isinstance(value, str) else "mapping"


ServerChoice = Annotated[
    Annotated[str, AfterValidator(_server_word), Tag("word")] | Annotated[Server, Tag("mapping")],
    Discriminator(_server_form),
]
Limits = Annotated[Policy, BeforeValidator(_long_forms)]


class Environment(Section):
    """What differs in one environment."""

    owner_suffix: Annotated[
        Annotated[str, Field(min_length=1, max_length=64), OneLine] | None,
        Field(description="Added to the owner after '@', so that environments keep apart; its name unless told."),
    ] = None
    server: Annotated[ServerChoice | None, Field(description="Another server.")] = None
    policy: Annotated[Limits | None, Field(description="Other limits; what is not named stays.")] = None
    overrides: dict[str, Any] = Field(
        default={},
        description="Fields of every spec. Mappings merge key by key, lists and values replace, null removes.",
    )


class Config(Section):
    """A repository's settings."""

    owner: Annotated[
        Annotated[str, Field(min_length=1, max_length=MAX_OWNER), OneLine] | None,
        Field(description="Whose jobs these are; unless told, the git remote's host/organization/repository."),
    ] = None
    server: Annotated[
        ServerChoice | None, Field(description="A URL, the name of a profile in servers, local, or a mapping.")
    ] = None
    servers: dict[EnvironmentName, ServerProfile] = Field(default={}, description="Server profiles by name.")
    environments: dict[EnvironmentName, Environment] = Field(
        default={}, description="Environments by name, chosen on the command line."
    )
    policy: Annotated[Limits, Field(description="The limits of this repository.")] = Policy()
    notifications: Annotated[Notifications, Field(description="The words of what a watch tells people.")] = (
        Notifications()
    )

    def within(self, environment: str | None) -> Config:
        """Return the settings as they are in one environment.

        Raises:
            UsageError: no such environment.
        """
        if environment is None:
            return self
        chosen = self.environments.get(environment)
        if chosen is None:
            known = ", ".join(sorted(self.environments)) or f"none; add it to {CONFIG}"
            raise UsageError(f"There is no environment {environment!r}.", hint=f"Known environments: {known}.")
        changes: dict[str, Any] = {"server": chosen.server} if chosen.server is not None else {}
        if chosen.policy is not None:
            base, other = (policy.model_dump(exclude_unset=True) for policy in (self.policy, chosen.policy))
            changes["policy"] = Policy.model_validate(merge(base, other))
        return self.model_copy(update=changes)


def load_config(
    root: FilePath, shown_as: str = CONFIG, content: bytes | None = None
) -> tuple[Config, documents.Document | None]:
    """Read ``reconciler.yaml``; an absent one says nothing. ``content`` counts instead of the file, where it is given.

    Returns:
        The settings, and the document they came from, which knows places.

    Raises:
        SpecError: with every fault, at its place.
    """
    try:
        if content is None:
            content = documents.read_bytes(str(root / CONFIG), shown_as)
        found = documents.read(shown_as, content)
    except FileNotFoundError:
        return Config(), None
    if not found:
        return Config(), None
    if len(found) > 1:
        raise SpecError([Problem(shown_as, found[1].line, 1, "must hold one document only")])
    document = found[0]
    raw = document.value()
    if not isinstance(raw, dict):
        raise SpecError([Problem(shown_as, 1, 1, "must be a mapping of settings")])
    problems = list(_override_problems(document, raw))
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        problems += [
            document.problem(f.path, f"{dotted(f.path)}: {f.message}", on_key=f.on_key)
            for f in faults(error, raw, Config)
        ]
        raise SpecError(problems) from error
    if problems := problems + _profile_problems(document, config):
        raise SpecError(problems)
    return config, document


def _override_problems(document: documents.Document, raw: Mapping[str, Any]) -> list[Problem]:
    problems: list[Problem] = []
    environments = raw.get("environments")
    for name, environment in environments.items() if isinstance(environments, dict) else ():
        overrides = environment.get("overrides") if isinstance(environment, dict) else None
        for key in overrides if isinstance(overrides, dict) else ():
            if key not in OVERRIDABLE:
                path: Path = ("environments", name, "overrides", key)
                why = "differs by spec" if key in {"name", "adopt"} else f"unknown key{did_you_mean(key, OVERRIDABLE)}"
                problems.append(document.problem(path, f"{dotted(path)}: {why}", on_key=True))
    return problems


def _profile_problems(document: documents.Document, config: Config) -> list[Problem]:
    """Find servers that name a profile nobody describes, and a profile that takes the embedded server's name."""
    named: dict[Path, str | Server | None] = {("server",): config.server}
    named |= {("environments", name, "server"): e.server for name, e in config.environments.items()}
    problems = []
    for path, server in named.items():
        name = server if isinstance(server, str) else server.profile if server else None
        if name and name != LOCAL and "://" not in name and name not in config.servers:
            near = did_you_mean(name, [*config.servers, LOCAL])
            problems.append(document.problem(path, f"{dotted(path)}: no profile {name!r} in servers{near}"))
    if LOCAL in config.servers:
        message = f"servers.{LOCAL}: is the name of the embedded server; choose another"
        problems.append(document.problem(("servers", LOCAL), message, on_key=True))
    return problems


def find_root(start: FilePath, cwd: FilePath | None = None) -> FilePath:
    """Return the repository's root for a path: the nearest directory at or above it that has ``reconciler.yaml``.

    Without one: the nearest that has ``.git``. Without that: the working directory where the path lies in it, else
    the parent of the path.
    """
    cwd = (cwd or FilePath.cwd()).absolute()
    start = FilePath(os.path.normpath(cwd / start))
    above = [start, *start.parents]
    for marker in (CONFIG, ".git"):
        for directory in above:
            if (directory / marker).exists():
                return directory
    return cwd if cwd in above else start.parent


def resolve_owner(
    config: Config,
    *,
    flag: str | None,
    env: Mapping[str, str],
    root: FilePath,
    environment: str | None,
    local: bool,
) -> str:
    """Say whose jobs these are: the flag, ``RECONCILER_OWNER``, ``reconciler.yaml``, the git remote, in this order.

    For the embedded server (``local``) there is always one. An environment adds ``@`` and its suffix to any of them,
    so that no environment ever prunes another's jobs.

    Raises:
        UsageError: nothing names an owner, or what names it cannot be one.
    """
    owner, _ = named_owner(config, flag=flag, env=env, root=root, local=local)
    if not owner:
        raise UsageError(
            "Nothing says whose jobs these are.",
            hint=f"Give --owner, set {OWNER_VARIABLE}, write owner into {CONFIG}, or add a git remote.",
        )
    if environment is not None:
        settings = config.environments.get(environment)
        owner += f"@{(settings.owner_suffix if settings else None) or environment}"
    if len(owner) > MAX_OWNER or not owner.isprintable() or owner != owner.strip():
        raise UsageError(
            f"An owner is one line of at most {MAX_OWNER} printable characters.", hint="Choose a shorter one."
        )
    return owner


def named_owner(
    config: Config, *, flag: str | None, env: Mapping[str, str], root: FilePath, local: bool
) -> tuple[str, str]:
    """Say what names the owner, without an environment's suffix, and where that stands; empty where nothing does."""
    if flag:
        return flag, "--owner"
    if named := env.get(OWNER_VARIABLE):
        return named, OWNER_VARIABLE
    if config.owner:
        return config.owner, CONFIG
    if remote := git_remote(root):
        return remote, "the git remote"
    return ("local", "the embedded server's own") if local else ("", "")
