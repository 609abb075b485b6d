"""What a repository needs for GitHub to plan, apply and look for drift: workflows, and a hint who approves spending."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

from reconciler.errors import UsageError
from reconciler.spec.remote import default_branch, repository

_WORKFLOWS = ("plan", "apply", "drift")
_CODEOWNERS = (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS")
"""Where GitHub looks for it; the first one that is there counts, the others are not read."""
_ACTION = re.compile(r"[A-Za-z0-9-]+/[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*@[0-9a-f]{40}([0-9a-f]{24})?")
PLACEHOLDER = f"OWNER/reconciler@{'0' * 40}"
"""Stands for the action where nobody says which it is: no commit has that name, so nothing runs by mistake."""


def workflows(directory: Path, action: str) -> dict[Path, str]:
    """Return the text of every file by its path, for specs that are in ``directory``.

    GitHub reads workflows at the top of a repository only, so that is where the paths lead. A CODEOWNERS of its own
    that the repository has elsewhere stands for ours, whose place would hide it.

    Raises:
        UsageError: ``action`` is not pinned by a commit.
    """
    if not _ACTION.fullmatch(action):
        raise UsageError(
            f"--action {action!r} is not OWNER/REPO@COMMIT with all 40 digits of the commit.",
            hint="A tag or a branch can be moved to other code, which would run with your key.",
        )
    top = _top(directory)
    below = directory.resolve().relative_to(top.resolve()).as_posix()
    branch = default_branch(top) or "main"
    files = {
        top / f".github/workflows/fine-tuning-{name}.yml": _workflow(_scaffold(f"{name}.yml"), action, branch, below)
        for name in _WORKFLOWS
    }
    owners = next((path for path in _CODEOWNERS if (top / path).exists()), _CODEOWNERS[0])
    inside = "" if below == "." else f"/{below}".replace(" ", r"\ ")
    rules = _scaffold("CODEOWNERS")
    for name in ("/specs/", "/reconciler.yaml"):
        rules = rules.replace(f"# {name}", f"# {inside}{name}")
    return {**files, top / owners: rules}


def _top(directory: Path) -> Path:
    """Return the top of the git repository; the directory itself where there is none yet."""
    absolute = directory.absolute()
    top = next((path for path in (absolute, *absolute.parents) if (path / ".git").exists()), absolute)
    return directory if top == absolute else top


def _workflow(text: str, action: str, branch: str, below: str) -> str:
    where = "" if below == "." else f"          working-directory: {_quoted(below)}\n"
    text = text.replace("          working-directory: .\n", where)
    pattern = re.sub(r"([+!])", r"\\\1", branch)  # all that a branch may hold and a pattern takes for more
    return text.replace(PLACEHOLDER, action).replace('branches: ["main"]', f"branches: [{_quoted(pattern)}]")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a JSON string is a YAML string


def _scaffold(name: str) -> str:
    return resources.files("reconciler.ci").joinpath(f"scaffold/{name}").read_text(encoding="utf-8")


def installed_action(direct_url: str | None) -> str | None:
    """Return OWNER/REPO@COMMIT of what was installed, where that was a commit on github.com.

    ``direct_url`` is what an installer records beside a distribution (``direct_url.json``), None where it has nothing.
    """
    found: Any = json.loads(direct_url) if direct_url else {}
    host, _, name = (repository(found.get("url", "")) or "").partition("/")
    action = f"{name}@{found.get('vcs_info', {}).get('commit_id')}"
    return action if host == "github.com" and _ACTION.fullmatch(action) else None
