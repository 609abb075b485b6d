"""A stand-in for GitHub's REST API on loopback: comments of pull requests, as documented, and its refusals."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from as_github import read_outputs
from github_git import Git

REPOSITORY = "acme/models"
TOKEN = "ghs_never_to_be_shown_4711"
BOT = "github-actions[bot]"
LONGEST = 65_536

Fault = Callable[[str, str], int | None]
"""Given method and path: the status to refuse with (0: hang up), or None."""


@dataclass
class Stand:
    """The repository: comments by id, branches and merged pull requests, what was asked, and what is refused.

    ``tips`` maps branches to commits; ``merges`` maps commits of the base branch to the pull request that made them,
    and that one's last commit.
    """

    url: str = ""
    prefix: str = ""
    login: str | None = None
    comments: dict[int, dict[str, Any]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    fault: Fault = lambda _method, _path: None
    words: str = "@everyone <b>"
    headers: dict[str, str] = field(default_factory=dict)
    last: int = 0
    git: Git = field(default_factory=Git)
    merges: dict[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def tips(self) -> dict[str, str]:
        return self.git.tips

    def add(self, body: str, author: str = BOT, number: int = 7) -> int:
        self.last += 1
        self.comments[self.last] = {"id": self.last, "user": {"login": author}, "body": body, "number": number}
        return self.last

    def bodies(self, author: str = BOT) -> list[str]:
        return [c["body"] for c in self.comments.values() if c["user"]["login"] == author]

    def asked(self, method: str) -> list[str]:
        return [path for verb, path in self.requests if verb == method]

    def answer(self, method: str, target: str, token: str | None, body: dict[str, Any]) -> tuple[int, Any]:
        if not target.startswith(self.prefix):
            return 404, {"message": "Not Found"}
        parts = urlsplit(target.removeprefix(self.prefix))
        self.requests.append((method, parts.path))
        if (status := self.fault(method, parts.path)) is not None:
            return status, {"message": f"refused with {status} {self.words}", "status": str(status)}
        if token != f"Bearer {TOKEN}":
            return 401, {"message": "Bad credentials"}
        if parts.path == "/user":
            return (200, {"login": self.login}) if self.login else (403, {"message": "Resource not accessible"})
        if method != "GET" and len(body.get("body", "")) > LONGEST:
            return 422, {"message": "Validation Failed", "errors": ["body is too long (maximum is 65536 characters)"]}
        query = parse_qs(parts.query)
        found = self._merged(parts.path) if method == "GET" else None
        found = found or self.git.answer(method, parts.path.removeprefix(f"/repos/{REPOSITORY}/"), query, body)
        return found or self._comments(method, parts.path, query, body)

    def _comments(self, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> tuple[int, Any]:
        prefix = f"/repos/{REPOSITORY}/issues"
        if found := re.fullmatch(rf"{prefix}/(\d+)/comments", path):
            return self._of_issue(method, int(found[1]), query, body)
        if found := re.fullmatch(rf"{prefix}/comments/(\d+)", path):
            return self._one(method, int(found[1]), body)
        return 404, {"message": "Not Found"}

    def _merged(self, path: str) -> tuple[int, Any] | None:
        prefix = f"/repos/{REPOSITORY}"
        if found := re.fullmatch(rf"{prefix}/commits/([0-9a-f]+)/pulls", path):
            if found[1] not in self.merges:
                return 200, []
            number, head = self.merges[found[1]]
            pull = {"number": number, "head": {"sha": head}, "merge_commit_sha": found[1]}
            return 200, [{**pull, "merged_at": None}, {**pull, "merged_at": "2026-11-26T12:00:00Z"}]
        return None

    def _of_issue(self, method: str, number: int, query: dict[str, list[str]], body: dict[str, Any]) -> tuple[int, Any]:
        if method == "POST":
            return 201, self.comments[self.add(body["body"], self.login or BOT, number)]
        size, page = min(int(query.get("per_page", ["30"])[0]), 100), int(query.get("page", ["1"])[0])
        rows = [c for c in self.comments.values() if c["number"] == number]
        return 200, rows[(page - 1) * size : page * size]

    def _one(self, method: str, comment_id: int, body: dict[str, Any]) -> tuple[int, Any]:
        comment = self.comments.get(comment_id)
        if comment is None:
            return 404, {"message": "Not Found"}
        if comment["user"]["login"] != (self.login or BOT):
            return 403, {"message": "Must have admin rights to Repository."}
        if method == "DELETE":
            del self.comments[comment_id]
            return 204, None
        comment["body"] = body["body"]
        return 200, comment


def _handler(stand: Stand) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            status, document = stand.answer(self.command, self.path, self.headers.get("authorization"), body)
            if status == 0:
                self.close_connection = True
                return
            data = b"" if document is None else json.dumps(document).encode()
            self.send_response(status)
            for name, value in stand.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = _any  # noqa: N815 - the handler's own names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    return Handler


@contextlib.contextmanager
def github(prefix: str = "") -> Iterator[Stand]:
    """Serve one until the block ends; a server of one's own has its API below a ``prefix``."""
    stand = Stand(prefix=prefix)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(stand)) as server:
        stand.url = f"http://127.0.0.1:{server.server_address[1]}{prefix}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield stand
        finally:
            server.shutdown()
            thread.join(10)


@dataclass(frozen=True)
class Runner:
    """What a runner hands to a step: its variables, and the files it reads afterwards.

    ``base`` is the commit of the branch that pull requests go to.
    """

    directory: Path
    workspace: Path
    api_url: str = "http://127.0.0.1:9"
    base: str = ""

    def event(self, name: str, payload: dict[str, Any] | None = None, **more: str) -> dict[str, str]:
        """Return the environment of a step that an event has started; what steps before it left is forgotten."""
        self.directory.mkdir(exist_ok=True)
        for file in ("output", "summary"):
            (self.directory / file).write_bytes(b"")
        (self.directory / "event.json").write_text(json.dumps(payload or {}), encoding="utf-8")
        return {
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": name,
            "GITHUB_EVENT_PATH": str(self.directory / "event.json"),
            "GITHUB_OUTPUT": str(self.directory / "output"),
            "GITHUB_STEP_SUMMARY": str(self.directory / "summary"),
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_API_URL": self.api_url,
            "GITHUB_SERVER_URL": "https://github.example",
            "GITHUB_RUN_ID": "4242",
            "GITHUB_SHA": "c" * 40,
            "GITHUB_TOKEN": TOKEN,
            "RUNNER_TEMP": str(self.directory),
            **more,
        }

    def pull_request(self, sha: str = "a" * 40, *, source: str = REPOSITORY, **more: str) -> dict[str, str]:
        """Return the environment of a pull request of a repository: of a fork, where ``source`` is another one."""
        head = {"sha": sha, "repo": {"full_name": source}}
        pull = {"number": 7, "merged": False, "head": head, "base": {"ref": "main", "sha": self.base}}
        return self.event("pull_request", {"pull_request": pull}, GITHUB_REF="refs/pull/7/merge", **more)

    def push(self, branch: str = "main", **more: str) -> dict[str, str]:
        return self.event("push", {"repository": {"default_branch": "main"}}, GITHUB_REF=f"refs/heads/{branch}", **more)

    @property
    def summary(self) -> str:
        return (self.directory / "summary").read_text(encoding="utf-8")

    def outputs(self) -> dict[str, str]:
        """Read outputs as the runner does."""
        return read_outputs((self.directory / "output").read_text(encoding="utf-8"))
