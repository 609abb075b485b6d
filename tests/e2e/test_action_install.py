"""The action's install: locked, offline where wheels are given, made once, and never into somebody else's Python."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from program import ROOT, environment
from wheels import wheel

_PROGRAM = "import sys\nfrom a_dependency import ANSWER\nprint('reconciler', '{}', ANSWER, *sys.argv[1:])\n"
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
class Checkout:
    """A checkout of an action like ours: a small program, one dependency, and a backend that builds it."""

    root: Path

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


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path)
    for directory in ("action", "reconciler", "temp", "wheelhouse"):
        (tmp_path / directory).mkdir()
    shutil.copy(ROOT / "action/install.py", tmp_path / "action")
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["backend"]\nbuild-backend = "backend"\n'
        '[project]\nname = "finetune-reconciler"\nversion = "1.0"\n'
    )
    (tmp_path / "reconciler/__init__.py").touch()
    (tmp_path / "reconciler/__main__.py").write_text(_PROGRAM.format("of the checkout"))
    lines = [
        wheel(made.wheelhouse, "backend", "1", {"backend.py": _BACKEND.format(here=str(Path(__file__).parent))}),
        wheel(made.wheelhouse, "a-dependency", "1", {"a_dependency.py": "ANSWER = 42\n"}),
    ]
    (tmp_path / "action/requirements.txt").write_text("".join(lines))
    return made


@pytest.mark.slow
def test_wheels_are_enough_what_works_is_not_made_again_and_no_other_wheel_is_taken(checkout: Checkout) -> None:
    assert checkout.run("install")[0] == {"made": "true"}
    assert checkout.program() == "reconciler of the checkout 42 ci"
    assert checkout.run("install", wheelhouse="nowhere")[0] == {}
    [home] = (checkout.root / "temp").iterdir()
    next(home.rglob("a_dependency.py")).unlink()
    wheel(checkout.wheelhouse, "a-dependency", "1", {"a_dependency.py": "ANSWER = 'evil'\n"})
    outputs, said = checkout.run("install", code=1)
    assert outputs == {}
    assert "::error::wheelhouse does not hold every wheel that action/requirements.txt names" in said
    assert sorted(path.name for path in checkout.root.iterdir()) == [
        "action", "outputs", "pyproject.toml", "reconciler", "temp", "wheelhouse",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_released_version_takes_the_place_of_the_checkout(checkout: Checkout) -> None:
    program = {"reconciler/__init__.py": "", "reconciler/__main__.py": _PROGRAM.format("2.0")}
    wheel(checkout.wheelhouse, "finetune-reconciler", "2.0", program)
    checkout.run("install", version="2.0")
    assert checkout.program("2.0") == "reconciler 2.0 42 ci"


def test_the_key_names_all_that_decides_what_is_installed(checkout: Checkout) -> None:
    keys = [checkout.run("where")[0]["key"]]
    assert checkout.run("where", temp="elsewhere")[0]["key"] == keys[0]
    for path in ("action/requirements.txt", "pyproject.toml", "reconciler/__main__.py", "reconciler/new.yml"):
        with (checkout.root / path).open("a", encoding="utf-8") as file:
            file.write("# more\n")
        keys.append(checkout.run("where")[0]["key"])
    keys.append(checkout.run("where", version="1.2.0")[0]["key"])
    assert len(set(keys)) == len(keys) == 6
    assert all(key.count("\n") == 0 and len(key) < 512 and "," not in key for key in keys)


@pytest.mark.parametrize("version", ["latest", "1.0 evil", "--pre", "1.0;x", "https://example.com/x.whl", "1.0\n2"])
def test_a_version_is_nothing_but_a_version(checkout: Checkout, version: str) -> None:
    said = checkout.run("where", code=1, version=version)[1]
    assert said.startswith("::error::version: ")
    assert len(said.splitlines()) == 1


def test_a_python_that_is_too_old_is_told_what_to_do(checkout: Checkout) -> None:
    script = checkout.root / "action/install.py"
    script.write_text(script.read_text(encoding="utf-8").replace("OLDEST = (3, 11)", "OLDEST = (99,)"))
    assert "set python-version" in checkout.run("where", code=1)[1]
