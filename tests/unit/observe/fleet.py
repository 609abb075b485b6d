"""A fine-tuning server in memory that lists and retrieves, well or badly, and whose time is virtual."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Any

import httpx

from reconciler.api.client import Client
from reconciler.api.server import Server
from reconciler.observe.ownership import OWNER, Ownership, stamp

NOW = 1_700_000_000
OURS = "github.com/acme/models"
REVISION = "0123456789abcdef"


@dataclass(frozen=True)
class Live:
    """A job on the server. ``visible`` is when lists begin to show it, in Unix seconds."""

    id: str
    created_at: int
    status: str = "succeeded"
    owner: str | None = OURS
    name: str = "triage"
    revision: str = f"{REVISION}.1"
    visible: int = 0
    more: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        metadata = {} if self.owner is None else stamp(Ownership(self.owner, self.name, REVISION, 1))
        if self.owner is not None:
            metadata["reconciler.revision"] = self.revision
        return {
            "id": self.id,
            "object": "fine_tuning.job",
            "created_at": self.created_at,
            "model": "gpt-4o-mini-2024-07-18",
            "status": self.status,
            "metadata": metadata,
            **self.more,
        }


class Fleet:
    """Jobs oldest first. ``filters``: whether lists honour the metadata filter; ``cap``: the most rows of a page."""

    def __init__(self, *jobs: Live, filters: bool = True, cap: int = 100, dated: bool = True) -> None:
        self.jobs = list(jobs)
        self.made = 0
        self.filters = filters
        self.cap = cap
        self.dated = dated
        self.now = float(NOW)
        self.calls: list[str] = []
        self.documents: dict[str, dict[str, Any]] = {}

    def add(self, *jobs: Live) -> None:
        self.jobs += jobs

    def move(self, job_id: str, status: str) -> None:
        self.jobs = [replace(job, status=status) if job.id == job_id else job for job in self.jobs]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/v1")
        self.calls.append(path.removeprefix("/fine_tuning/jobs") or "list")
        if path == "/fine_tuning/jobs":
            return self.answer(self.page(request.url.params))
        if path in self.documents:
            return self.answer(self.documents[path])
        for job in self.jobs:
            if path == f"/fine_tuning/jobs/{job.id}":
                return self.answer(job.document())
        return self.answer({"error": {"message": f"no {path}", "type": "t", "param": None, "code": None}}, 404)

    def page(self, params: httpx.QueryParams) -> dict[str, Any]:
        rows = self.rows(params)
        start = next((i + 1 for i, row in enumerate(rows) if row["id"] == params.get("after")), 0)
        size = min(self.cap, int(params["limit"]))
        return {"object": "list", "data": rows[start : start + size], "has_more": start + size < len(rows)}

    def rows(self, params: httpx.QueryParams) -> list[dict[str, Any]]:
        wanted = params.get(f"metadata[{OWNER}]")
        newest_first = sorted(enumerate(self.jobs), key=lambda pair: (pair[1].created_at, pair[0]), reverse=True)
        return [
            job.document()
            for _, job in newest_first
            if job.visible <= self.now and not (self.filters and wanted is not None and job.owner != wanted)
        ]

    def answer(self, body: dict[str, Any], status: int = 200) -> httpx.Response:
        headers = {"date": formatdate(self.now, usegmt=True)} if self.dated else {}
        return httpx.Response(status, content=json.dumps(body), headers=headers)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    def client(self, lag: float = 10.0, app: object = None) -> Client:
        return Client(
            Server("test", "https://host.test/v1", lag=lag, app=app),
            transport=httpx.MockTransport(self),
            clock=lambda: self.now,
            sleep=self.sleep,
            random=lambda: 0.5,
        )


def ended(count: int, *, start: int = 0) -> list[Live]:
    """Make jobs that ended long ago, a minute apart."""
    return [Live(f"ftjob-{start + n:05}", NOW - 1_000_000 + 60 * (start + n)) for n in range(count)]
