"""GitHub's runner, as nektos/act plays it: whole workflows on this machine, without a container and without a network.

act takes actions/checkout for done and runs in a copy of the repository. The action is a checkout's; other actions are
stand-ins, as small as they can be.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sysconfig
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

from github import REPOSITORY
from program import ROOT, environment
from ruamel.yaml import YAML

ACTION = f"acme/reconciler@{'a' * 40}"
_SCRIPTS = Path(sysconfig.get_path("scripts"))
_STANDINS = {
    "cache/restore": 'if [ -d "$CACHE/$KEY" ]; then cp -a "$CACHE/$KEY" "$FILES"; fi',
    "cache/save": 'mkdir -p "$CACHE"; cp -a "$FILES" "$CACHE/$KEY"',
    "upload-artifact": 'mkdir -p "$ARTIFACTS/$NAME"; xargs cp -t "$ARTIFACTS/$NAME" <<< "$FILES"',
    "setup-python": 'echo "python-path=$PYTHON3" >> "$GITHUB_OUTPUT"',
}
"""What stands in for each action that ours uses."""
_STANDIN = """
name: a stand-in
description: a stand-in
inputs: {{path: {{description: p}}, key: {{description: k}}, name: {{description: n}}}}
outputs: {{python-path: {{description: p, value: "${{{{ steps.only.outputs.python-path }}}}"}}}}
runs:
  using: composite
  steps:
    - id: only
      shell: bash
      env: {{FILES: "${{{{ inputs.path }}}}", KEY: "${{{{ inputs.key }}}}", NAME: "${{{{ inputs.name }}}}"}}
      run: {script}
"""


@dataclass(frozen=True)
class Played:
    """How the workflows of an event ended: act's exit code and log, and the action's outputs."""

    code: int
    log: str
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class Act:
    """A runner for one repository. Everything that it keeps is in ``home``; ``checkout`` is the action's."""

    home: Path
    repository: Path
    checkout: Path
    api_url: str

    def __post_init__(self) -> None:
        self.home.mkdir()
        self.python.symlink_to(_SCRIPTS / "python3")
        for name, script in _STANDINS.items():
            directory = self.home / "standins" / name
            directory.mkdir(parents=True)
            places = {"CACHE": self.cache, "ARTIFACTS": self.artifacts, "PYTHON3": self.python}
            lines = [*(f"{place}={shlex.quote(str(path))}" for place, path in places.items()), script]
            text = _STANDIN.format(script=json.dumps("\n".join(lines)))
            (directory / "action.yml").write_text(text, encoding="utf-8")

    @property
    def cache(self) -> Path:
        return self.home / "cache"

    @property
    def artifacts(self) -> Path:
        return self.home / "artifacts"

    @property
    def python(self) -> Path:
        """Return the Python that actions/setup-python finds."""
        return self.home / "python3"

    def play(self, event: str, payload: Mapping[str, Any], secrets: Mapping[str, str], *, code: int = 0) -> Played:
        """Run what an event starts, and insist on the end: 1 where anything failed."""
        event_file, outputs = self.home / "event.json", self.home / "outputs.json"
        event_file.write_text(json.dumps(payload), encoding="utf-8")
        outputs.write_text("{}", encoding="utf-8")
        env = {
            "HOME": str(self.home), "XDG_CACHE_HOME": str(self.home / "act"), "TMPDIR": str(self.home),
            "PIP_INDEX_URL": "http://127.0.0.1:9", "PATH": f"{_SCRIPTS}:{environment()['PATH']}", **secrets,
        }  # fmt: skip
        told = {"GITHUB_API_URL": self.api_url, "GITHUB_REPOSITORY": REPOSITORY, "OUTPUTS": str(outputs)}
        done = subprocess.run(
            [
                _SCRIPTS / "act", event, "--eventpath", event_file, "-P", "ubuntu-latest=-self-hosted",
                "--no-cache-server", "--rm", *self._repositories(), *(f"--env={n}={v}" for n, v in told.items()),
                *(f"--secret={name}" for name in secrets),
            ],
            cwd=self.repository, env=environment(**env), capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        log = done.stdout + done.stderr
        assert done.returncode == code, log
        return Played(done.returncode, log, json.loads(outputs.read_text(encoding="utf-8")))

    def _repositories(self) -> list[str]:
        """Return where act finds the actions that it would otherwise fetch."""
        used = set(re.findall(r"uses: (actions/[a-z-]+)[a-z/]*(@\w+)", (self.checkout / "action.yml").read_text()))
        local = {f"{name}{commit}": self.home / "standins" / name.partition("/")[2] for name, commit in used}
        return [f"--local-repository={name}={path}" for name, path in {**local, ACTION: self.checkout}.items()]


def our_checkout(directory: Path) -> Path:
    """Return a checkout of this repository's action."""
    directory.mkdir()
    for name in ("action", "reconciler"):
        copytree(ROOT / name, directory / name, ignore=ignore_patterns("__pycache__"))
    for name in ("action.yml", "pyproject.toml"):
        (directory / name).write_bytes((ROOT / name).read_bytes())
    return directory


def install(act: Act) -> None:
    """Let the cache hold what the action would install: this repository's code, and the packages of these tests."""
    outputs = act.home / "where"
    env = environment(RUNNER_TEMP=str(act.home), GITHUB_OUTPUT=str(outputs))
    python = [str(_SCRIPTS / "python3"), "-I"]
    subprocess.run([*python, act.checkout / "action/install.py", "where"], env=env, check=True, timeout=60)
    directory = act.cache / dict(re.findall("(.*)=(.*)", outputs.read_text(encoding="utf-8")))["key"]
    venv.create(directory, symlinks=True)
    [packages] = directory.glob("lib/python*/site-packages")
    (packages / "tests.pth").write_text(f"{ROOT}\n{sysconfig.get_path('purelib')}\n", encoding="utf-8")


def tell_outputs(workflow: Path) -> None:
    """Have a workflow's last step, the action, be followed by one that tells its outputs to a test."""
    yaml = YAML()
    document = yaml.load(workflow.read_text(encoding="utf-8"))
    [job] = document["jobs"].values()
    job["steps"][-1]["id"] = "action"
    told = {"TOLD": "${{ toJSON(steps.action.outputs) }}"}
    job["steps"].append({"if": "always()", "env": told, "run": 'printf %s "$TOLD" > "$OUTPUTS"'})
    with workflow.open("w", encoding="utf-8") as file:
        yaml.dump(document, file)
