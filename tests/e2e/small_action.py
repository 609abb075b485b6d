"""An action like ours, but small: a program of three lines, one dependency, and a backend that builds it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from shutil import copy
from typing import Self

from program import ROOT, environment
from wheels import wheel

PROGRAM = "import sys\nfrom a_dependency import ANSWER\nprint('reconciler', '{}', ANSWER, *sys.argv[1:])\n"
_BACKEND = """
import sys
sys.path.insert(0, {here!r})
from wheels import wheel
from pathlib import Path
def build_wheel(directory, *_):
    files = {{path.as_posix(): path.read_text() for path in Path('reconciler').glob('*.py')}}
    wheel(Path(directory), 'finetune-reconciler', '1.0', files)
    return 'finetune_reconciler-1.0-py3-none-any.whl'
"""


@dataclass(frozen=True)
class SmallAction:
    """Its checkout. What it installs is in its ``wheelhouse``, and nothing is anywhere else."""

    root: Path

    @classmethod
    def make(cls, root: Path) -> Self:
        """Make one in a directory."""
        made = cls(root)
        for directory in ("action", "reconciler", "temp", "wheelhouse"):
            (root / directory).mkdir(parents=True)
        copy(ROOT / "action/install.py", root / "action")
        copy(ROOT / "action.yml", root)
        (root / "pyproject.toml").write_text(
            '[build-system]\nrequires = ["backend"]\nbuild-backend = "backend"\n'
            '[project]\nname = "finetune-reconciler"\nversion = "1.0"\n'
        )
        (root / "reconciler/__init__.py").touch()
        (root / "reconciler/__main__.py").write_text(PROGRAM.format("of the checkout"))
        lines = [
            wheel(made.wheelhouse, "backend", "1", {"backend.py": _BACKEND.format(here=str(Path(__file__).parent))}),
            wheel(made.wheelhouse, "a-dependency", "1", {"a_dependency.py": "ANSWER = 42\n"}),
        ]
        (root / "action/requirements.txt").write_text("".join(lines))
        return made

    @property
    def wheelhouse(self) -> Path:
        return self.root / "wheelhouse"

    def run(
        self, command: str, *, code: int = 0, version: str = "", wheelhouse: str = "wheelhouse", temp: str = "temp"
    ) -> tuple[dict[str, str], str]:
        """Run the install as a step; return its outputs, and what it said."""
        outputs = self.root / "outputs"
        outputs.write_bytes(b"")
        env = environment(
            RECONCILER_VERSION=version, RECONCILER_WHEELHOUSE=wheelhouse, PIP_INDEX_URL="http://127.0.0.1:9",
            RUNNER_TEMP=str(self.root / temp), GITHUB_OUTPUT=str(outputs),
        )  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-I", self.root / "action/install.py", command], cwd=self.root,
            env=env, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stdout + done.stderr
        assert done.returncode == code, done.stdout + done.stderr
        pairs = (line.partition("=") for line in outputs.read_text(encoding="utf-8").splitlines())
        return {name: value for name, _, value in pairs}, done.stdout

    def program(self, version: str = "") -> str:
        """Run what was installed, as the action does."""
        python = self.run("where", version=version)[0]["python"]
        command = [python, "-I", "-m", "reconciler", "ci"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
