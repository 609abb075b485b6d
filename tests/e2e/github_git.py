"""A stand-in for what GitHub's REST API shows of git: branches, files, commits made of trees, and pull requests."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

Answer = tuple[int, Any]
Body = Mapping[str, Any]
NOT_FOUND: Answer = (404, {"message": "Not Found"})


@dataclass(frozen=True)
class Commit:
    """A commit: the texts of its files by path, its parents and its message."""

    files: Mapping[str, str] = field(default_factory=dict)
    parents: tuple[str, ...] = ()
    message: str = "first"


@dataclass
class Git:
    """Branches by name, commits and trees by id; pull requests by number less one. A commit nobody made has no file."""

    tips: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    trees: dict[str, Mapping[str, str]] = field(default_factory=dict)
    pulls: list[dict[str, Any]] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None
    """Called before each move of a branch: what somebody else does at that moment."""

    def push(self, branch: str, path: str, text: str, message: str = "by hand") -> str:
        """Commit a file to a branch, as somebody else does."""
        tip = self.tips[branch]
        self.tips[branch] = self._keep(Commit({**self.commit(tip).files, path: text}, (tip,), message))
        return self.tips[branch]

    def commit(self, sha: str) -> Commit:
        return self.commits.get(sha, Commit())

    def show(self, branch: str, path: str) -> str | None:
        return self.commit(self.tips[branch]).files.get(path)

    def log(self, branch: str) -> list[str]:
        """Return the messages of a branch, newest first."""
        found, sha = [], self.tips[branch]
        while sha:
            found.append(self.commit(sha).message)
            sha = next(iter(self.commit(sha).parents), "")
        return found

    def answer(self, method: str, path: str, query: Mapping[str, list[str]], body: Body) -> Answer | None:
        """Answer what is asked of a repository's git; None where it is about something else."""
        for verb, pattern, handle in self._routes():
            if verb == method and (found := re.fullmatch(pattern, path)):
                return handle(unquote(found[1]) if found.groups() else "", {k: v[0] for k, v in query.items()}, body)
        return None

    def _routes(self) -> tuple[tuple[str, str, Callable[[str, Mapping[str, str], Body], Answer]], ...]:
        return (
            ("GET", r"branches/([^/]+)", self._branch),
            ("GET", r"contents/(.+)", self._contents),
            ("GET", r"git/commits/([0-9a-f]+)", self._commit),
            ("POST", r"git/trees", self._make_tree),
            ("POST", r"git/commits", self._make_commit),
            ("PATCH", r"git/refs/heads/(.+)", self._move),
            ("POST", r"git/refs", self._make_ref),
            ("GET", r"compare/(.+)", self._compare),
            ("GET", r"pulls", self._list),
            ("POST", r"pulls", self._open),
            ("PATCH", r"pulls/(\d+)", self._edit),
        )

    def _branch(self, name: str, _: Mapping[str, str], __: Body) -> Answer:
        tip = self.tips.get(name)
        return (200, {"name": name, "commit": {"sha": tip}, "protected": True}) if tip else NOT_FOUND

    def _contents(self, path: str, query: Mapping[str, str], _: Body) -> Answer:
        at = query["ref"]
        sha = self.tips.get(at) or (at if re.fullmatch("[0-9a-f]{40}", at) else None)
        text = self.commit(sha).files.get(path) if sha else None
        if text is None:
            return NOT_FOUND
        content = base64.encodebytes(text.encode()).decode()
        return 200, {"type": "file", "encoding": "base64", "path": path, "sha": _sha(text), "content": content}

    def _commit(self, sha: str, _: Mapping[str, str], __: Body) -> Answer:
        commit = self.commit(sha)
        parents = [{"sha": parent} for parent in commit.parents]
        return 200, {"sha": sha, "tree": {"sha": self._tree(commit.files)}, "parents": parents}

    def _make_tree(self, _: str, __: Mapping[str, str], body: Body) -> Answer:
        if body["base_tree"] not in self.trees:
            return 404, {"message": "tree.base_tree is not a valid tree"}
        changed = {each["path"]: each["content"] for each in body["tree"]}
        return 201, {"sha": self._tree({**self.trees[body["base_tree"]], **changed})}

    def _make_commit(self, _: str, __: Mapping[str, str], body: Body) -> Answer:
        return 201, {"sha": self._keep(Commit(self.trees[body["tree"]], tuple(body["parents"]), body["message"]))}

    def _move(self, branch: str, _: Mapping[str, str], body: Body) -> Answer:
        self.meanwhile()
        if branch not in self.tips:
            return 422, {"message": "Reference does not exist"}
        if not body["force"] and self.tips[branch] not in self._ancestors(body["sha"]):
            return 422, {"message": "Update is not a fast forward"}
        self.tips[branch] = body["sha"]
        return 200, {"ref": f"refs/heads/{branch}", "object": {"type": "commit", "sha": body["sha"]}}

    def _make_ref(self, _: str, __: Mapping[str, str], body: Body) -> Answer:
        branch = body["ref"].removeprefix("refs/heads/")
        if branch in self.tips:
            return 422, {"message": "Reference already exists"}
        self.tips[branch] = body["sha"]
        return 201, {"ref": body["ref"], "object": {"type": "commit", "sha": body["sha"]}}

    def _compare(self, ends: str, _: Mapping[str, str], __: Body) -> Answer:
        old, new = ends.split("...")
        if old not in self._ancestors(new):
            return 200, {"status": "diverged", "commits": [], "files": []}
        between = [sha for sha in self._ancestors(new) if sha not in self._ancestors(old)]
        before, after = self.commit(old).files, self.commit(new).files
        files = [{"filename": path} for path in {*before, *after} if before.get(path) != after.get(path)]
        commits = [{"sha": sha, "commit": {"message": self.commit(sha).message}} for sha in between]
        return 200, {"status": "ahead" if commits else "identical", "commits": commits, "files": files}

    def _list(self, _: str, query: Mapping[str, str], __: Body) -> Answer:
        wanted = [(p["head"]["label"], p["base"]["ref"], p["state"]) for p in self.pulls]
        asked = (query["head"], query["base"], query["state"])
        return 200, [pull for pull, have in zip(self.pulls, wanted, strict=True) if have == asked]

    def _open(self, _: str, __: Mapping[str, str], body: Body) -> Answer:
        if self.commit(self.tips[body["head"]]).files == self.commit(self.tips[body["base"]]).files:
            return 422, {"message": "No commits between the two"}
        head = {"ref": body["head"], "label": f"acme:{body['head']}"}
        base = {"ref": body["base"], "sha": self.tips[body["base"]]}
        said = {"title": body["title"], "body": body["body"]}
        self.pulls.append({"number": len(self.pulls) + 1, "state": "open", "head": head, "base": base, **said})
        return 201, self.pulls[-1]

    def _edit(self, number: str, _: Mapping[str, str], body: Body) -> Answer:
        self.pulls[int(number) - 1].update(body)
        return 200, self.pulls[int(number) - 1]

    def _ancestors(self, sha: str) -> list[str]:
        """Return a commit and those it stands on, along first parents."""
        found = [sha]
        while parents := self.commit(found[-1]).parents:
            found.append(parents[0])
        return found

    def _tree(self, files: Mapping[str, str]) -> str:
        sha = _sha(dict(files))
        self.trees[sha] = files
        return sha

    def _keep(self, commit: Commit) -> str:
        sha = _sha([dict(commit.files), commit.parents, commit.message])
        self.commits[sha] = commit
        return sha


def _sha(value: object) -> str:
    return hashlib.sha1(json.dumps(value, sort_keys=True).encode()).hexdigest()
