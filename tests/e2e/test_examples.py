"""The examples do what their READMEs say: every line of a console block is run, with a local server for a real host."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from ports import kept_port
from program import KEY, ROOT, Repo, Result, end
from recording import PATIENCE, observer, recording, within
from test_kills import answers

EXAMPLES = sorted(path.parent.name for path in ROOT.glob("examples/*/README.md"))
REAL = "open-weights"
"""Trains for real, and so is played by a test of its own."""


def console(readme: Path) -> Iterator[str]:
    for block in re.findall(r"```console\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.splitlines():
            assert line.startswith("$ "), line
            yield line.removeprefix("$ ")


class Shell:
    """As much of a shell as the READMEs need."""

    def __init__(self, root: Path, port: int, stack: ExitStack, timeout: float = 120) -> None:
        self.repo = Repo(root, server=None)
        self._timeout = timeout
        self._root = root
        self._port = port
        self._stack = stack

    def type(self, line: str) -> Result | None:
        words = [self.repo.env[word[1:]] if word.startswith("$") else word for word in shlex.split(line)]
        match words:
            case ["cd", where]:
                self.repo = Repo(self._root / where, None, self.repo.env)
                assert self.repo.root.is_dir()
            case ["export", setting]:
                name, _, value = setting.partition("=")
                self.repo = Repo(self.repo.root, None, {**self.repo.env, name: KEY if value == "..." else value})
            case ["reconciler", "serve", *_]:
                self._serve([*words[1:], "--port", str(self._port)])
            case ["reconciler", *arguments]:
                return self.repo.run(*arguments, timeout=self._timeout)
            case ["python", *arguments]:
                return self._python(arguments)
            case _:
                raise AssertionError(f"not understood: {line}")
        return None

    def _serve(self, arguments: list[str]) -> None:
        process = self.repo.start(*arguments)
        self._stack.callback(end, process)
        http = self._stack.enter_context(observer(f"http://127.0.0.1:{self._port}"))
        within(PATIENCE, lambda: process.poll() is not None or answers(http))

    def _python(self, arguments: list[str]) -> Result:
        command, env = [sys.executable, *arguments], self.repo.environment()
        done = subprocess.run(
            command, cwd=self.repo.root, env=env, capture_output=True, text=True, timeout=self._timeout, check=False
        )
        assert done.returncode == 0, done.stderr
        return Result(0, done.stdout, done.stderr)


def localized(example: str, root: Path, port: int) -> Path:
    """Copy an example; where it names a port or a real host, put ours."""
    copy = root / "examples" / example
    shutil.copytree(ROOT / "examples" / example, copy, ignore=shutil.ignore_patterns(".reconciler"))
    for file in (copy / "reconciler.yaml", copy / "README.md", *copy.glob("*.py")):
        text = file.read_text(encoding="utf-8")
        text = text.replace("https://api.openai.com/v1", f"http://127.0.0.1:{port}/v1").replace("8765", str(port))
        file.write_text(text, encoding="utf-8")
    return copy


@pytest.mark.parametrize("example", [example for example in EXAMPLES if example != REAL])
def test_an_example_runs_as_its_readme_says(tmp_path: Path, example: str) -> None:
    with ExitStack() as stack:
        hosted = stack.enter_context(recording(tmp_path / "hosted", key=KEY))
        names_a_host = "api.openai.com" in (ROOT / "examples" / example / "reconciler.yaml").read_text()
        port = int(hosted.url.split(":")[2].removesuffix("/v1")) if names_a_host else stack.enter_context(kept_port())
        copy = localized(example, tmp_path, port)
        shell = Shell(tmp_path, port, stack)
        for line in console(copy / "README.md"):
            done = shell.type(line)
            if done and " apply " in f" {line} ":
                assert "1 done" in done.out
        assert bool(hosted.recorder.requests) == names_a_host
        assert hosted.changes == []  # a plan buys nothing
