"""A stand-in for the Hugging Face hub on loopback: repositories of files in commits, as far as its client asks."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_never_to_be_shown_4711_abcdefgh"
READER = "hf_that_may_only_read_4711_abcdefg"
LFS = (".safetensors", ".gguf", "tokenizer.json")

Files = dict[str, bytes]
Fault = Callable[[str, str], int | None]
"""Given method and path: the status to refuse with, or None."""
_REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"


@dataclass
class Repo:
    """One repository: what its branches point to, and the files of each commit."""

    private: bool = True
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Files] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, files: Mapping[str, bytes], branch: str = "main", message: str = "by hand") -> str:
        sha = hashlib.sha1(f"{len(self.commits)} {message}".encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.branches[branch] = sha
        self.messages.append(message)
        return sha

    def files(self, revision: str = "main") -> Files | None:
        return self.commits.get(self.branches.get(revision, revision))


@dataclass
class Hub:
    """All repositories, what was uploaded, what was asked with which token, and what is refused."""

    url: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    fault: Fault = lambda _method, _path: None

    def make(self, name: str, files: Mapping[str, str] | None = None, *, private: bool = True) -> Repo:
        repo = self.repos[name] = Repo(private)
        given = {file: text.encode() for file, text in (files or {}).items()}
        repo.commit({".gitattributes": b"*.safetensors filter=lfs\n"} | given)
        return repo

    def head(self, name: str) -> str:
        return self.repos[name].branches["main"]

    def answer(self, method: str, path: str, token: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body."""
        self.requests.append((method, path))
        self.tokens.add(token)
        if (status := self.fault(method, path)) is not None:
            return _refused(status, f"refused, {token} and all", "")
        if method == "PUT" and (found := re.fullmatch(r"/store/(\w+)", path)):
            assert hashlib.sha256(body).hexdigest() == found[1]
            self.stored[found[1]] = body
            return 200, {}, b""
        if token not in {TOKEN, READER, ""}:
            return _refused(401, "Invalid credentials in Authorization header", "")
        return self._routed(method, path, token, body)

    def _routed(self, method: str, path: str, token: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if path in {"/api/repos/create", "/api/validate-yaml"}:
            told = json.loads(body)
            return self._create(told, token) if path.endswith("create") else _checked(told["content"])
        for pattern, handle in (
            (rf"/api/models/{_REPO}(?:/revision/(?P<rev>[^/]+))?", self._info),
            (rf"/api/models/{_REPO}/auth-check/write", self._may_write),
            (rf"/api/models/{_REPO}/preupload/(?P<rev>[^/]+)", self._modes),
            (rf"/{_REPO}\.git/info/lfs/objects/batch", self._batch),
            (rf"/api/models/{_REPO}/commit/(?P<rev>[^/]+)", self._commit),
            (rf"/{_REPO}/resolve/(?P<rev>[^/]+)/(?P<file>.+)", self._file),
        ):
            if found := re.fullmatch(pattern, path):
                name, revision = found["repo"], unquote(found.groupdict().get("rev") or "main")
                repo = self.repos.get(name)
                if repo is None or (repo.private and not token):
                    return _refused(404 if token else 401, "Repository not found", "RepoNotFound")
                if repo.files(revision) is None:
                    return _refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
                if token != TOKEN and handle not in (self._info, self._file):
                    return _refused(403, "Forbidden: pass a token that may write", "")
                return handle(name, repo, revision, unquote(found.groupdict().get("file") or ""), body)
        return _refused(404, f"{method} {path}: no such page", "EntryNotFound")

    def _create(self, told: dict[str, Any], token: str) -> tuple[int, dict[str, str], bytes]:
        name = f"{told['organization']}/{told['name']}"
        if token != TOKEN:
            return _refused(403, "You don't have the rights to create a model under this namespace", "")
        if name in self.repos:
            return _refused(409, "You already created this model repo", "")
        self.make(name, private=told.get("visibility") != "public")
        return _json({"url": f"{self.url}/{name}"})

    def _info(self, name: str, repo: Repo, revision: str, *_: object) -> tuple[int, dict[str, str], bytes]:
        sha, files = repo.branches.get(revision, revision), repo.files(revision) or {}
        listed = [{"rfilename": file} for file in sorted(files)]
        return _json({"id": name, "sha": sha, "private": repo.private, "siblings": listed, "tags": []})

    def _may_write(self, *_: object) -> tuple[int, dict[str, str], bytes]:
        return _json({})

    def _modes(self, _: str, repo: Repo, revision: str, __: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        there, told = repo.files(revision) or {}, []
        for file in json.loads(body)["files"]:
            path = file["path"]
            mode, old = "lfs" if path.endswith(LFS) else "regular", there.get(path)
            told.append({"path": path, "uploadMode": mode, "shouldIgnore": False})
            if old is not None:
                git = hashlib.sha1(b"blob %d\0%b" % (len(old), old)).hexdigest()
                told[-1]["oid"] = hashlib.sha256(old).hexdigest() if mode == "lfs" else git
        return _json({"files": told})

    def _batch(self, *given: Any) -> tuple[int, dict[str, str], bytes]:
        objects = json.loads(given[-1])["objects"]
        for each in objects:
            if each["oid"] not in self.stored:
                each["actions"] = {"upload": {"href": f"{self.url}/store/{each['oid']}"}}
        return _json({"transfer": "basic", "objects": objects})

    def _commit(self, name: str, repo: Repo, revision: str, _: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        lines = [json.loads(line) for line in body.splitlines()]
        files = dict(repo.files(revision) or {})
        head = lines[0]["value"]
        if head.get("parentCommit") not in {None, repo.branches[revision]}:
            return _refused(412, "A commit has happened since. Please refresh and try again.", "")
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "deletedFile":
                del files[value["path"]]
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            else:
                files[value["path"]] = self.stored[value["oid"]]
        sha = repo.commit(files, revision, head["summary"])
        return _json({"success": True, "commitOid": sha, "commitUrl": f"{self.url}/{name}/commit/{sha}"})

    def _file(self, _: str, repo: Repo, revision: str, file: str, __: bytes) -> tuple[int, dict[str, str], bytes]:
        content = (repo.files(revision) or {}).get(file)
        if content is None:
            return _refused(404, f"{file} does not exist", "EntryNotFound")
        sha = repo.branches.get(revision, revision)
        return 200, {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": sha}, content


def _checked(card: str) -> tuple[int, dict[str, str], bytes]:
    """Check a card's head: the hub takes the licences that it knows."""
    licence = re.search(r'^license: "(.*)"$', card, re.MULTILINE)
    if licence and licence[1] not in {"apache-2.0", "mit", "other", "unknown"}:
        fault = {"message": '"license" must be one of [apache-2.0, mit, ...]'}
        return 400, {}, json.dumps({"errors": [fault], "warnings": []}).encode()
    return _json({"errors": [], "warnings": [{"message": "never mind"}]})


def _json(value: object) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()


def _refused(status: int, words: str, code: str) -> tuple[int, dict[str, str], bytes]:
    headers = {"X-Error-Message": words, "x-request-id": "req-4711"} | ({"X-Error-Code": code} if code else {})
    return status, headers, json.dumps({"error": words}).encode()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(iter(self._chunk, b""))
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        status, headers, content = self.hub.answer(
            "GET" if self.command == "HEAD" else self.command, urlsplit(self.path).path, token, body
        )
        first, _, last = self.headers.get("Range", "").removeprefix("bytes=").partition("-")
        if first and status == 200:
            status, content = 206, content[int(first) : int(last or len(content)) + 1]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = _answer  # noqa: N815 - the library's names

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline(), 16)
        content = self.rfile.read(size)
        self.rfile.readline()
        return content

    def log_message(self, *_: object) -> None:
        return


@contextlib.contextmanager
def hub() -> Iterator[Hub]:
    """Serve a hub for as long as the block lasts."""
    made = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": made}))
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
