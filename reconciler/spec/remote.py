"""What a clone knows: the name of its remote, the default branch, and what was removed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

_SCP = re.compile(r"(?:[^@/\s]+@)?([^:/\s]{2,}):(?!//)(.+)")


def git_remote(root: Path) -> str | None:
    """Return ``host/org/repo`` of the remote ``origin``, or of the only remote; None where there is none.

    Reads git's own settings; nothing is fetched.
    """
    found = _git(root, "config", "--local", "--get-regexp", r"^remote\..*\.url$")
    lines = [line.partition(" ") for line in found.splitlines()]
    remotes = {key.removeprefix("remote.").removesuffix(".url"): url for key, _, url in lines}
    url = remotes.get("origin") or (next(iter(remotes.values())) if len(remotes) == 1 else "")
    return repository(url)


def default_branch(root: Path) -> str | None:
    """Return the default branch of the remote ``origin`` as of the clone, else the one at hand; None without git."""
    found = _git(root, "symbolic-ref", "--short", "refs/remotes/origin/HEAD").strip().removeprefix("origin/")
    return found or _git(root, "symbolic-ref", "--short", "HEAD").strip() or None


def was_removed(root: Path, path: str) -> bool:
    """Whether the newest commit lacks a path below the root that an earlier one had."""
    there = _git(root, "ls-tree", "HEAD", "--", path)
    return not there and bool(_git(root, "rev-list", "--max-count=1", "HEAD", "--", path))


def _git(root: Path, *arguments: str) -> str:
    """Return what git says; nothing where it fails, or is not there."""
    command = ["git", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout  # noqa: S603
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""


def repository(url: str) -> str | None:
    """Reduce a remote's URL to ``host/org/repo``: no scheme, user, password, port or ``.git``. A local path is none."""
    if "://" in url:
        try:
            parts = urlsplit(url)
            host, path = parts.hostname, parts.path
        except ValueError:
            return None
        if parts.scheme == "file":
            return None
    elif match := _SCP.fullmatch(url):
        host, path = match[1].lower(), match[2]
    else:
        return None
    path = path.strip("/").removesuffix(".git").strip("/")
    return f"{host}/{path}" if host and path and path.isprintable() else None
