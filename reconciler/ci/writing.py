"""Writing a file of the repository back: as a commit on its branch, or as one pull request that is kept up to date.

A commit is made whole, on top of the newest one, before any branch leads to it. So nothing that others push meanwhile
is lost, and nothing is ever half written.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from reconciler.ci.github import GitHub
from reconciler.errors import HostError

_TRIES = 3
_SUBJECT = "{path}: models of the specs"
_SKIP = " [skip ci]"
_WRITTEN = re.compile(rf"(.+){re.escape(_SUBJECT.format(path='') + _SKIP)}")
_MOVED = (409, 422)
"""What GitHub answers where a branch is not, or no longer, where it was thought to be."""


@dataclass(frozen=True, slots=True)
class Change:
    """A file to write. ``update`` takes its text and returns the new one; None is no file, before and after."""

    path: str
    update: Callable[[str | None], str | None]

    @property
    def subject(self) -> str:
        """The first line of its commit."""
        return _SUBJECT.format(path=self.path)


@dataclass(frozen=True, slots=True)
class _Pull:
    number: int
    base: str


def commit(github: GitHub, branch: str, change: Change) -> str | None:
    """Commit a change to a branch, in a way that starts no workflow; return the commit, None where nothing differs.

    Raises:
        HostError: GitHub refused, failed or did not answer, or the branch moved each time.
    """
    for _ in range(_TRIES - 1):
        try:
            return _commit(github, branch, change)
        except HostError as error:
            if error.status not in _MOVED:
                raise
    return _commit(github, branch, change)


def _commit(github: GitHub, branch: str, change: Change) -> str | None:
    tip = github.tip(branch)
    old = _text(github, change.path, tip)
    new = change.update(old)
    if new is None or new == old:
        return None
    made = _make(github, tip, change.path, new, change.subject + _SKIP)
    _move(github, branch, made, force=False)
    return made


def propose(github: GitHub, branch: str, change: Change, body: str) -> int | None:
    """Have one open pull request with a change to a branch; return its number, None where nothing differs.

    Its own branch always holds one commit on top of the other's; what others add to it is lost. Where nothing differs
    any more, it is closed.

    Raises:
        HostError: GitHub refused, failed or did not answer.
    """
    head = "reconciler/" + re.sub(r"[^A-Za-z0-9/_-]+", "-", change.path).strip("-/")
    tip = github.tip(branch)
    old = _text(github, change.path, tip)
    new = change.update(old)
    pull = _open_pull(github, head, branch)
    if new is None or new == old:
        if pull:
            github.ask("PATCH", f"pulls/{pull.number}", {"state": "closed"})
        return None
    current = pull and _text(github, change.path, head) == new and _text(github, change.path, pull.base) == old
    if not current:
        made = _make(github, tip, change.path, new, change.subject)
        try:
            _move(github, head, made, force=True)
        except HostError as error:
            if error.status not in (404, *_MOVED):
                raise
            github.ask("POST", "git/refs", {"ref": f"refs/heads/{head}", "sha": made})
    if pull:
        return pull.number
    request = {"title": change.subject, "head": head, "base": branch, "body": body}
    return int(_field(github.ask("POST", "pulls", request), "number", int))


def only_written_back(github: GitHub, old: str, new: str) -> bool:
    """Say whether all that stands between two commits is what ``commit`` has made: then their specs are the same."""
    match github.ask("GET", f"compare/{old}...{new}"):
        case {"status": "ahead", "commits": [*commits], "files": [*files]}:
            subjects = [_field(_field(each, "commit", dict), "message", str).partition("\n")[0] for each in commits]
            written = [match[1] for subject in subjects if (match := _WRITTEN.fullmatch(subject))]
            changed = {_field(file, "filename", str) for file in files}
            return len(written) == len(commits) and changed <= set(written)
    return False


def _text(github: GitHub, path: str, at: str) -> str | None:
    """Return a file's text at a commit or branch; None where it has no such file."""
    try:
        found = github.ask("GET", f"contents/{quote(path)}", params={"ref": at})
    except HostError as error:
        if error.status == 404:
            return None
        raise
    match found:
        case {"type": "file", "encoding": "base64", "content": str(content)}:
            try:
                return base64.b64decode(content).decode()
            except (binascii.Error, ValueError):
                pass
    raise HostError(f"{path} is no text file that GitHub shows.")


def _make(github: GitHub, parent: str, path: str, text: str, message: str) -> str:
    """Make a commit that differs from its parent in one file; no branch leads to it yet."""
    base = _sha(_field(github.ask("GET", f"git/commits/{parent}"), "tree", dict))
    file = {"path": path, "mode": "100644", "type": "blob", "content": text}
    tree = _sha(github.ask("POST", "git/trees", {"base_tree": base, "tree": [file]}))
    return _sha(github.ask("POST", "git/commits", {"message": message, "tree": tree, "parents": [parent]}))


def _move(github: GitHub, branch: str, to: str, *, force: bool) -> None:
    github.ask("PATCH", f"git/refs/heads/{quote(branch)}", {"sha": to, "force": force})


def _open_pull(github: GitHub, head: str, branch: str) -> _Pull | None:
    wanted = {"head": f"{github.owner}:{head}", "base": branch, "state": "open"}
    match github.ask("GET", "pulls", params=wanted):
        case [{"number": int(number), "base": {"sha": str(base)}}, *_]:
            return _Pull(number, base)
    return None


def _sha(found: object) -> str:
    return str(_field(found, "sha", str))


def _field(found: object, name: str, kind: type) -> Any:  # noqa: ANN401 - of the kind that is asked for
    value = found.get(name) if isinstance(found, dict) else None
    if not isinstance(value, kind):
        raise HostError(f"GitHub's answer has no {name}.")
    return value
