"""Installs the program for the action: locked dependencies, in a virtual environment of its own.

``install.py where`` says where it goes and under which key that can be cached; ``install.py install`` makes it where it
is not there yet. Both write outputs of their step. Python's standard library is all there is at this point, and that of
a Python too old for the program has to do for saying so.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NoReturn

CHECKOUT = Path(__file__).resolve().parents[1]
LOCK = CHECKOUT / "action" / "requirements.txt"
OLDEST = (3, 11)
_VERSION = re.compile(r"[0-9]+(\.[0-9]+)*((a|b|rc)[0-9]+)?(\.post[0-9]+)?")


def main(command: str) -> None:
    """Run one of the two commands."""
    if sys.version_info < OLDEST:
        _fail(f"reconciler needs Python 3.11 or newer, and here is {platform.python_version()}: set python-version.")
    version = os.environ.get("RECONCILER_VERSION", "")
    if version and not _VERSION.fullmatch(version):
        _fail(f"version: {version!r} is not a released version such as 1.2.0. Leave it out for the action's own.")
    digest = _digest(version)
    directory = Path(os.environ["RUNNER_TEMP"]) / f"reconciler-{digest[:16]}"
    python = directory / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if command == "where":
        system = f"{sysconfig.get_platform()}-py{platform.python_version()}"
        _output(key=f"reconciler-{system}-{digest}", directory=str(directory), python=str(python))
    elif not _works(python):
        _install(directory, python, version, os.environ.get("RECONCILER_WHEELHOUSE", ""))
        _output(made="true")


def _digest(version: str) -> str:
    """Return a digest of all that decides what is installed."""
    files = [LOCK]
    if not version:
        files += [CHECKOUT / "pyproject.toml", *sorted((CHECKOUT / "reconciler").rglob("*"))]
    digest = hashlib.sha256(f"{sysconfig.get_platform()} {sys.version} {Path(sys.executable).resolve()}".encode())
    digest.update(version.encode())
    for path in files:
        if path.is_file() and path.suffix != ".pyc":
            digest.update(f"\0{path.relative_to(CHECKOUT).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _works(python: Path) -> bool:
    """Say whether the program is there and starts: what a cache brought back need not."""
    try:
        done = subprocess.run([str(python), "-I", "-m", "reconciler", "--version"], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def _install(directory: Path, python: Path, version: str, wheelhouse: str) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    _run(
        [sys.executable, "-I", "-m", "venv", str(directory)],
        "No virtual environment could be made: install this Python's venv module, or set python-version.",
    )
    pip = [str(python), "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    source = []
    if wheelhouse:
        source = ["--no-index", "--find-links", str(Path(wheelhouse).resolve(strict=False))]
    missing = (
        f"{wheelhouse} does not hold every wheel that action/requirements.txt names for this system and Python."
        if wheelhouse
        else "The dependencies could not be installed; without internet, name a wheelhouse."
    )
    _run([*pip, *source, "--require-hashes", "--only-binary", ":all:", "-r", str(LOCK)], missing)
    if version:
        chosen = [*source, "--only-binary", ":all:", f"finetune-reconciler=={version}"]
    else:
        chosen = ["--no-index", "--no-deps", "--no-build-isolation", str(CHECKOUT)]
    _run([*pip, *chosen], f"reconciler {version}".rstrip() + " could not be installed.")


def _run(command: list[str], failure: str) -> None:
    if subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode:
        _fail(failure)


def _output(**values: str) -> None:
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as file:
        file.writelines(f"{name}={value}\n" for name, value in values.items())


def _fail(message: str) -> NoReturn:
    escaped = message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    print(f"::error::{escaped}", flush=True)
    sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
