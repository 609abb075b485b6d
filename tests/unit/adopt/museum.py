"""A server of jobs as others made them, of any shape. It answers reads over loopback, and notes writes."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from reconciler.cli.main import run

OWNER = "example.com/ours"
THEIRS = "example.com/theirs"
JOBS = "/v1/fine_tuning/jobs"
Document = dict[str, Any]


def rows(count: int = 12) -> bytes:
    """Return training data that every server takes."""
    messages = [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b"}]
    return (json.dumps({"messages": messages}) + "\n").encode() * count


def job(number: int = 1, **fields: Any) -> Document:
    """Return a job as OpenAI shows one that has succeeded."""
    settings = {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.8}
    return {
        "id": f"ftjob-{number:04}AbC",
        "object": "fine_tuning.job",
        "created_at": 1_750_000_000 + number,
        "finished_at": 1_750_003_000 + number,
        "model": "gpt-4.1-mini-2025-04-14",
        "fine_tuned_model": f"ft:gpt-4.1-mini-2025-04-14:acme:triage:{number:04}AbC",
        "organization_id": "org-1",
        "result_files": ["file-result"],
        "status": "succeeded",
        "training_file": "file-train",
        "validation_file": None,
        "hyperparameters": settings,
        "method": {"type": "supervised", "supervised": {"hyperparameters": settings}},
        "integrations": [],
        "seed": 42,
        "metadata": None,
        "trained_tokens": 1000,
        "error": {},
        "user_provided_suffix": "triage",
        "estimated_finish": None,
        **fields,
    }


def owned(
    number: int = 1, owner: str = THEIRS, name: str = "triage", revision: str = "a" * 16, **more: Any
) -> Document:
    """Return a job that a reconciler made."""
    stamp = {"reconciler.owner": owner, "reconciler.name": name, "reconciler.revision": f"{revision}.1"}
    return job(number, metadata={"team": "a", **stamp}, **more)


def checkpoint(maker: Document, step: int) -> Document:
    return {
        "id": f"ftckpt-{step}",
        "object": "fine_tuning.job.checkpoint",
        "created_at": maker["created_at"] + step,
        "fine_tuned_model_checkpoint": f"ft:{maker['model']}:acme:triage:{maker['id'][-7:]}:ckpt-step-{step}",
        "fine_tuning_job_id": maker["id"],
        "step_number": step,
        "metrics": {},
    }


@dataclass
class Museum:
    """``jobs`` oldest first; ``content`` of files by id; ``checkpoints`` by job."""

    jobs: list[Document] = field(default_factory=list)
    content: dict[str, bytes] = field(default_factory=lambda: {"file-train": rows(), "file-valid": rows(3)})
    checkpoints: dict[str, list[Document]] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Ends of paths whose next answers are cut short, one for each time a path is in it."""
    closed: set[str] = field(default_factory=set)
    """Ends of paths that this server does not offer."""
    url: str = ""

    def get(self, path: str, params: dict[str, str]) -> Document | bytes | None:
        """Answer a path; None is 404."""
        if any(path.endswith(end) for end in self.closed):
            path = ""
        by_id = {job["id"]: job for job in self.jobs}
        match path.removeprefix("/v1/").split("/"):
            case ["fine_tuning", "jobs"]:
                return self._page(params)
            case ["fine_tuning", "jobs", job_id]:
                return by_id.get(job_id)
            case ["fine_tuning", "jobs", job_id, "checkpoints"]:
                return {"object": "list", "data": self.checkpoints.get(job_id, []), "has_more": False}
            case ["files", file_id] if file_id in self.content:
                return {
                    "id": file_id,
                    "object": "file",
                    "bytes": len(self.content[file_id]),
                    "created_at": 1,
                    "filename": f"{file_id} of ours.jsonl",
                }
            case ["files", file_id, "content"]:
                return self.content.get(file_id)
        return None

    def _page(self, params: dict[str, str]) -> Document:
        wanted = {key[9:-1]: value for key, value in params.items() if key.startswith("metadata[")}
        shown = [job for job in self.jobs[::-1] if wanted.items() <= (job["metadata"] or {}).items()]
        if after := params.get("after"):
            shown = shown[[job["id"] for job in shown].index(after) + 1 :]
        limit = int(params["limit"])
        return {"object": "list", "data": shown[:limit], "has_more": len(shown) > limit}


@contextlib.contextmanager
def open_museum() -> Iterator[Museum]:
    museum = Museum()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            found = museum.get(unquote(parts.path), dict(parse_qsl(parts.query)))
            error = {"error": {"message": "no such object", "type": "t", "param": None, "code": None}}
            body = found if isinstance(found, bytes) else json.dumps(error if found is None else found).encode()
            cut = next((end for end in museum.broken if parts.path.endswith(end)), None)
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if cut is not None:
                museum.broken.remove(cut)
                body = body[: len(body) // 2]
                self.close_connection = True
            self.wfile.write(body)

        def do_POST(self) -> None:
            museum.writes.append(self.path)
            self.send_error(500)

        def do_DELETE(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    museum.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield museum
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Cli:
    """The program's commands, in this process, in a repository of its own."""

    root: Path
    museum: Museum
    capsys: pytest.CaptureFixture[str]
    err: str = ""

    def text(self, *arguments: str, code: int = 0) -> str:
        self.capsys.readouterr()
        found = run([*arguments, "--server", self.museum.url])
        out, self.err = self.capsys.readouterr()
        assert found == code, out + self.err
        return out

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.text(*arguments, "--format", "json", code=code))

    def offline(self, *arguments: str) -> Any:
        """Run a command that takes no server, and return its document."""
        self.capsys.readouterr()
        assert run(arguments) == 0
        return json.loads(self.capsys.readouterr().out)

    def spec(self, name: str) -> str:
        """Return the text of a spec's file."""
        return (self.root / f"specs/{name}.yaml").read_text(encoding="utf-8")

    def plan(self, *arguments: str) -> dict[str, str]:
        """Return the action of each name."""
        return {change["name"]: change["action"] for change in self.json("plan", *arguments)["changes"]}

    def reason(self, name: str, *arguments: str) -> str:
        changes = self.json("plan", *arguments)["changes"]
        return next(str(change["reason"]) for change in changes if change["name"] == name)
