"""The base of a pull request: by whose settings it is judged, and what it is compared with.

A pull request must neither lift its own limits nor send the key to a server of its choice. So ``reconciler.yaml`` is
read from the base branch; and where that has none to go by, no server is asked.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from reconciler.ci.surroundings import Surroundings
from reconciler.errors import ReconcilerError, SpecError, UsageError
from reconciler.history.git import Git, GitFailed
from reconciler.plan.model import Difference
from reconciler.spec.config import find_root, load_config
from reconciler.spec.documents import Document
from reconciler.spec.tree import CONFIG, shown_path

_STATE = ".reconciler"
_CHOICE = "and a pull request does not choose the server that gets the key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What a pull request is held against.

    ``commit`` is the base branch's. ``settings`` is the content of its ``reconciler.yaml``, None where the work tree's
    own has to do; then ``offline`` says why no server may be asked. ``changed`` are the settings that differ, ``fault``
    is what is wrong with the work tree's own.
    """

    commit: str
    settings: bytes | None = None
    offline: str = ""
    changed: tuple[Difference, ...] = ()
    fault: SpecError | None = None


def read_base(start: Path, environment: str | None, around: Surroundings, named: str | None = None) -> Base:
    """Read the base of a pull request; ``start`` is where the specs are.

    Outside of GitHub its commit is ``named``: an id, or a branch that is here.

    Raises:
        ReconcilerError: its commit is neither here nor to be had, or there is no git.
        UsageError: the pull request brings our own state along.
    """
    start = Path(os.path.normpath(Path.cwd() / start))
    root = find_root(start)
    try:
        with checkout(root, around) as git:
            commit = _commit(git, around, named)
            names = git.names(head) if (head := git.commit("HEAD")) else []
            if state := next((name for name in names if name.casefold() == _STATE), None):
                raise UsageError(
                    f"{state}/ is in git: what is cached there could hide what a pull request does.",
                    hint=f"Take it out: git rm -r --cached {state}",
                )
            home, settings = _settings(git, root, start, commit, around)
            inside = git.prefix.rstrip("/") or "."
    except GitFailed as error:
        raise ReconcilerError(
            f"The base of this pull request cannot be read: {error}.",
            hint="Give actions/checkout fetch-depth: 2, so that the base branch's newest commit is there.",
        ) from error
    return _judged(commit, settings, root, environment, fork=around.fork, moved=home != inside)


def checkout(root: Path, around: Surroundings) -> Git:
    """Return git for what a pipeline has checked out."""
    return Git(root, trusted=around.event != "")


def _commit(git: Git, around: Surroundings, named: str | None) -> str:
    """Return the base branch's commit, fetched where need be: the first parent of the merge that GitHub tried."""
    head = git.commit("HEAD")
    parents = git.parents(head) if head and head == around.tried else []
    tried = parents[0] if len(parents) == 2 and parents[1] == around.commit else around.base
    wanted = named or tried
    if wanted is None:
        raise GitFailed("GitHub's event names no commit of it")
    if commit := git.commit(wanted):
        return commit
    git.fetch(wanted, credentials(around))
    return wanted


def credentials(around: Surroundings) -> Mapping[str, str]:
    """Return settings by which git shows GitHub's token to GitHub, and to nobody else."""
    env = {"GIT_TERMINAL_PROMPT": "0"}
    if around.token and around.server_url:
        word = base64.b64encode(f"x-access-token:{around.token}".encode()).decode()
        name = f"http.{around.server_url}/.extraheader"
        values = ("", f"AUTHORIZATION: basic {word}")  # the empty one takes back what a checkout has left
        env["GIT_CONFIG_COUNT"] = str(len(values))
        for i, value in enumerate(values):
            env |= {f"GIT_CONFIG_KEY_{i}": name, f"GIT_CONFIG_VALUE_{i}": value}
    return env


def _settings(git: Git, root: Path, start: Path, commit: str, around: Surroundings) -> tuple[str | None, bytes | None]:
    """Return the directory whose settings a commit has for specs at ``start``, from the work tree's top, and them."""
    below = PurePosixPath(git.prefix, Path(os.path.relpath(start, root)).as_posix())
    with checkout(root.joinpath(*[".."] * len(PurePosixPath(git.prefix).parts)), around) as whole:
        for directory in (below, *below.parents):
            if blob := whole.blob(commit, str(directory / CONFIG)):
                return str(directory), b"".join(whole.read(blob))
    return None, None


def _judged(
    commit: str, settings: bytes | None, root: Path, environment: str | None, *, fork: bool, moved: bool
) -> Base:
    shown_as = shown_path(str(root / CONFIG), str(root / CONFIG), Path.cwd())
    try:
        _, own = load_config(root, shown_as)
    except SpecError as error:
        return Base(commit=commit, settings=settings, fault=error)
    why = _unusable(settings, own, environment, moved=moved)
    offline = "it comes from a fork, which gets no key" if fork else why
    if why or settings is None:
        return Base(commit=commit, offline=offline)
    _, judge = load_config(root, content=settings)
    return Base(commit=commit, settings=settings, offline=offline, changed=tuple(_differences(judge, own)))


def _unusable(settings: bytes | None, own: Document | None, environment: str | None, *, moved: bool) -> str:
    """Say why a pull request cannot be judged by the base branch's settings; empty where it can."""
    if settings is None:
        return f"the base branch has no {CONFIG} yet, {_CHOICE}" if own else ""
    if moved:
        return f"it puts {CONFIG} elsewhere, {_CHOICE}"
    try:
        load_config(Path(), content=settings)[0].within(environment)
    except SpecError:
        return f"the base branch's {CONFIG} has faults"
    except UsageError:
        return f"the base branch's {CONFIG} does not know the environment {environment!r} yet"
    return ""


def _differences(old: Document | None, new: Document | None) -> Iterator[Difference]:
    before, after = (_flat("", document.value()) if document else {} for document in (old, new))
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield Difference(name, before.get(name), after.get(name))


def _flat(name: str, value: object) -> dict[str, str]:
    """Return every setting by its dotted name, as text."""
    if isinstance(value, dict) and value:
        flat: dict[str, str] = {}
        for key, inner in value.items():
            flat |= _flat(f"{name}.{key}" if name else str(key), inner)
        return flat
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    }
