"""What GitHub, and those who attack it, would make of workflows: its schema, actionlint and zizmor, all offline."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

_SCRIPTS = Path(sysconfig.get_path("scripts"))


def lint(root: Path) -> None:
    """Insist that the workflows below a directory are valid, and that zizmor finds nothing of medium or above."""
    files = sorted(map(str, (root / ".github/workflows").glob("*.yml")))
    assert files
    _run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files)
    _run("actionlint", "-shellcheck=", "-pyflakes=", *files)
    _run("zizmor", "--offline", "--no-config", "--no-progress", "--min-severity", "medium", *files)


def _run(tool: str, *arguments: str) -> None:
    done = subprocess.run([_SCRIPTS / tool, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
