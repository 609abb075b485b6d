"""Write action/requirements.txt: what the action installs, each version with its digests, for every system and Python.

What it holds already stays as it is where it can; ``--upgrade`` takes the newest of everything.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "action" / "requirements.txt"
HEAD = "# Written by scripts/lock.py, from pyproject.toml: dependencies, and what builds the package.\n"


def wanted() -> list[str]:
    """Return the requirements that the lock answers."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return [*document["project"]["dependencies"], *document["build-system"]["requires"]]


def main() -> None:
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    arguments = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate"]
    subprocess.run(
        [uv, "pip", "compile", "--quiet", "--no-config", *arguments, "-o", LOCK, *sys.argv[1:], "-"],
        input="\n".join(wanted()), text=True, check=True,
    )  # fmt: skip
    LOCK.write_text(HEAD + LOCK.read_text(encoding="utf-8"), encoding="utf-8")


if __name__ == "__main__":
    main()
