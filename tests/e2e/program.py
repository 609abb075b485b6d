"""Runs the program as users do: a process of its own, in a repository of its own, with an environment of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from warm import can_be_warm, warm

ROOT = Path(__file__).parents[2]
KEY = "sk-e2e-never-to-be-shown-5f1d"
"""A key that no output and no file of the client may hold."""
OWNER = "example.com/e2e"
LONG: dict[str, Any] = {
    "model": "simulated-slow",
    "training_file": "data/long.jsonl",
    "hyperparameters": {"n_epochs": 50},
}
"""A job that outlasts its test: minutes on the embedded server, and on a test's own for ever."""
_OURS = ("OPENAI_", "RECONCILER_", "AZURE_", "COVERAGE_", "PYTEST_")
_ALSO = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TERM", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment without anything that the program listens to."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_OURS) and k.upper() not in _ALSO}
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **more}


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def said(self) -> str:
        return self.out + self.err

    def actions(self) -> dict[str, str]:
        """Return name -> action of a plan in JSON; of several changes of one name, those that act come first."""
        actions: dict[str, str] = {}
        for change in self.json["changes"]:
            actions.setdefault(change["name"], change["action"])
        return actions

    def reason(self, name: str) -> str:
        """Return why, for the first change of a name."""
        return next(str(c["reason"]) for c in self.json["changes"] if c["name"] == name)


def chat(count: int = 12, *, word: str = "plus") -> list[dict[str, Any]]:
    """Make rows of training data; another ``word`` makes other data."""
    return [
        {
            "messages": [
                {"role": "user", "content": f"{n} {word} {n}?"},
                {"role": "assistant", "content": str(n + n)},
            ]
        }
        for n in range(count)
    ]


@dataclass(frozen=True)
class Repo:
    """A repository of specs. ``server`` is passed to every command that reaches one; ``env`` adds to all."""

    root: Path
    server: str | None = "local"
    env: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, root: Path, server: str | None = "local", settings: str = "", **env: str) -> Self:
        """Make a repository with data and no spec yet."""
        repo = cls(root, server, env)
        (root / "specs" / "data").mkdir(parents=True)
        repo.write("reconciler.yaml", f"owner: {OWNER}\n{settings}")
        repo.rows("train.jsonl", chat())
        repo.rows("long.jsonl", chat(300))
        return repo

    def write(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def rows(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self.write(f"specs/data/{name}", "".join(json.dumps(row) + "\n" for row in rows))

    def spec(self, name: str, *, file: str | None = None, **fields: object) -> None:
        """Write a spec, over any other of its file. JSON is YAML too."""
        spec: dict[str, object] = {
            "name": name,
            "model": "gpt-4.1-nano-2025-04-14",
            "training_file": "data/train.jsonl",
            "hyperparameters": {"n_epochs": 1},
        }
        self.write(f"specs/{file or name}.yaml", json.dumps({**spec, **fields}, ensure_ascii=False))

    def git(self, *arguments: str) -> str:
        """Run git, whatever people have set for themselves."""
        ours = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        for who in ("AUTHOR", "COMMITTER"):
            ours |= {f"GIT_{who}_NAME": "e2e", f"GIT_{who}_EMAIL": "e2e@example.com"}
        command, env = ["git", "-C", str(self.root), *arguments], environment(**ours)
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.strip()

    def commit(self, subject: str = "change") -> str:
        """Commit everything, in a repository of git's made where there is none, and return the commit."""
        if not (self.root / ".git").exists():
            self.git("init", "-q", "-b", "main")
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", subject)
        return self.git("rev-parse", "HEAD")

    def remove(self, name: str) -> None:
        (self.root / "specs" / f"{name}.yaml").unlink()

    def command(self, *arguments: str) -> list[str]:
        server = ["--server", self.server] if self.server and _reaches_a_server(arguments) else []
        return [sys.executable, "-m", "reconciler", *arguments, *server]

    def environment(self) -> dict[str, str]:
        return environment(**self.env)

    def run(self, *arguments: str, code: int | None = 0, stdin: str = "", timeout: float = 120) -> Result:
        """Run a command to its end, and insist on its exit code (None: any)."""
        result = Result(*self._run(self.command(*arguments), self.environment(), stdin, timeout))
        self.check(result)
        assert code is None or result.code == code, f"{arguments}: exit {result.code}\n{result.said}"
        return result

    def _run(
        self, command: Sequence[str], environment: Mapping[str, str], stdin: str, timeout: float
    ) -> tuple[int, str, str]:
        if can_be_warm(environment):
            return warm().run(command[3:], self.root, environment, stdin, timeout)
        done = subprocess.run(
            command, cwd=self.root, env=environment, input=stdin,
            capture_output=True, text=True, encoding="utf-8", timeout=timeout, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def check(self, result: Result) -> None:
        """Insist on what holds for every command: no traceback, no key in sight."""
        assert "Traceback" not in result.said, result.said
        assert "fault of the program" not in result.said, result.said
        assert KEY not in result.said

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command, in a process group of its own."""
        return subprocess.Popen(
            self.command(*arguments), cwd=self.root, env=self.environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", start_new_session=True,
        )  # fmt: skip

    def plan(self, *arguments: str, code: int | None = 0) -> Result:
        return self.run("plan", "--format", "json", *arguments, code=code)

    def apply(self, *arguments: str, code: int | None = 0) -> Result:
        return self.run("apply", "--auto-approve", "--format", "json", *arguments, code=code)

    def jobs(self) -> dict[str, dict[str, Any]]:
        """Return what ``status`` shows, by name."""
        return {job["name"]: job for job in self.run("status", "--format", "json").json["jobs"]}


def _reaches_a_server(arguments: Sequence[str]) -> bool:
    return "--server" not in arguments and arguments[0] in {
        "plan", "apply", "status", "events", "checkpoints", "outputs", "drift", "import", "doctor", "watch",
    }  # fmt: skip


def end(process: subprocess.Popen[str], how: signal.Signals = signal.SIGKILL) -> Result:
    """End a command that was started, and return what it said."""
    if process.poll() is None:
        process.send_signal(how)
    out, err = process.communicate(timeout=60)
    return Result(process.returncode, out, err)
