"""Every command, in every form it prints: for what must hold of all of them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from program import Repo, chat
from recording import Recording, recording
from spiked import Spiked

from reconciler.cli.main import run

COMMANDS: Mapping[str, Sequence[Sequence[str]]] = {
    "validate": [["--format", "json"], []],
    "fmt": [["--check"], ["--diff"]],
    "plan": [
        [],
        ["--verbose"],
        ["--debug"],
        ["--debug", "--log-format", "json"],
        ["--format", "json"],
        ["--format", "markdown"],
        ["--out", "saved.plan"],
    ],
    "apply": [["--auto-approve"], ["--auto-approve", "--format", "json"], ["--auto-approve", "--wait"], ["saved.plan"]],
    "watch": [
        ["--looks", "1"],
        ["--looks", "1", "--auto-approve"],
        ["--looks", "1", "--observe", "--log-format", "json"],
        ["--looks", "1", "--observe", "--ui", "--listen", "0"],
    ],
    "status": [[], ["--format", "json"], ["--debug"]],
    "events": [["good"], ["good", "--format", "json"], ["bad"]],
    "checkpoints": [["good"], ["good", "--format", "json"]],
    "history": [["good"], ["good", "--format", "json"], ["good", "--html", "page.html"], ["bad"]],
    "trace": [["MODEL"], ["MODEL", "--format", "json"]],
    "outputs": [["--format", form] for form in ("json", "yaml", "env", "tfvars")] + [["--out", "outputs.json"]],
    "import": [["--unowned", "--download"], ["--unowned", "--format", "json"], ["--metadata", "team=x"]],
    "pause": [["good", "--dry-run"]],
    "resume": [["good", "--dry-run"]],
    "cancel": [["good", "--dry-run"]],
    "drift": [[], ["--format", "json"]],
    "ci": [
        *(["--command", command] for command in ("validate", "plan", "apply", "drift")),
        ["--command", "drift", "--lock-file", "lock.yaml"],
    ],
    "gc": [["--older-than", "0"], ["--older-than", "0", "--format", "json"]],
    "graph": [[], ["--format", "mermaid"], ["--format", "json"]],
    "schema": [[], ["--config"]],
    "doctor": [[], ["--format", "json"]],
    "init": [["fresh"], ["fresh", "--github", "--action", f"acme/reconciler@{'a' * 40}"]],
    "models": [
        ["export", "MODEL", "--to", "out"],
        ["export", "MODEL", "--to", "hf://acme/out"],
        ["export", "MODEL", "--to", "out", "--gguf", "f16", "--gguf-converter", "reconciler.yaml"],
    ],
    "serve": [["--directory", "reconciler.yaml"], ["--directory", "reconciler.yaml", "--ui"]],
}
"""By command: the arguments of each call. MODEL is the model of ``good``; every other word is itself."""
OFFLINE = {"validate", "fmt", "pause", "resume", "cancel", "graph", "schema", "init", "models", "serve"}


@dataclass(frozen=True)
class Ended:
    """A call in this process: its exit code, and what it printed."""

    call: str
    code: int
    out: str
    err: str


@dataclass
class Everything:
    """A repository with jobs of every fate on a server that can be spiked."""

    repo: Repo
    server: Recording
    spike: Spiked
    model: str

    def calls(self, *commands: str) -> Iterator[Ended]:
        """Run commands (default: all) in every form."""
        for command in commands or COMMANDS:
            for arguments in COMMANDS[command]:
                words = [self.model if word == "MODEL" else word for word in arguments]
                server = [] if command in OFFLINE else ["--server", self.server.url]
                yield self.call(command, *words, *server)

    def call(self, *arguments: str) -> Ended:
        """Run one command line in this process."""
        self.spike.once = True
        out, err = _stream(), _stream()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(self.repo.root):
            code = run(arguments)
        return Ended(" ".join(arguments), code, _text(out), _text(err))


def _stream() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace", write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    written: io.BytesIO = stream.buffer  # type: ignore[assignment]
    return written.getvalue().decode()


@contextlib.contextmanager
def everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str | None = None) -> Iterator[Everything]:
    """Make such a repository and server: trained, failed, replaced, paused and unowned jobs."""
    for name in ("RECONCILER_SERVER", "RECONCILER_OWNER", "RECONCILER_DEBUG", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    if key:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    layers: list[Spiked] = []

    def around(app: object) -> Spiked:
        layers.append(Spiked(app))  # type: ignore[arg-type]
        return layers[0]

    repo = Repo.make(tmp_path / "repo", settings="policy: {permissions: [proj_a]}\n")
    repo.spec("good", wandb={"project": "p"}, metadata={"team": "x"}, permissions=["proj_b"])
    repo.spec("next", model={"job": "good"})
    repo.spec("bad", model="simulated-fail")
    repo.spec("held", model="simulated-slow", training_file="data/long.jsonl", hyperparameters={"n_epochs": 50})
    with recording(tmp_path / "server", key=key, speed=20.0, around=around) as server:
        made = Everything(repo, server, layers[0], "")
        made.call("apply", "--auto-approve", "--server", server.url)
        server.until("good", "succeeded")
        unowned(server)
        repo.rows("train.jsonl", chat(word="and"))
        made.call("apply", "--auto-approve", "--server", server.url)
        server.until("good", "succeeded")
        server.until("bad", "failed")
        repo.spec("held", state="paused", model="simulated-slow", training_file="data/long.jsonl",
                  hyperparameters={"n_epochs": 50})  # fmt: skip
        made.model = server.by_name("good")[-1]["fine_tuned_model"]
        made.repo.rows("train.jsonl", chat(word="but"))  # so that a plan has something to say
        yield made


def unowned(server: Recording) -> None:
    """Start a job as somebody else would, with labels."""
    job = server.by_name("good")[0]
    body = {"model": job["model"], "training_file": job["training_file"], "metadata": {"team": "x"}, "suffix": "theirs"}
    server.http.post("/fine_tuning/jobs", json=body).raise_for_status()
