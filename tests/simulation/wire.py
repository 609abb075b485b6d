"""HTTP without a network: requests reach the server in memory, and faults strike on the way."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

import httpx

from reconciler.observe.ownership import NAME, Ownership, parse

from .faults import BEFORE, PROOF, Fault, Faults
from .record import Record, Run
from .server import Refused, Server

BASE = "https://sim.example/v1"
JOBS = "/fine_tuning/jobs"
SLOW = 400.0
"""Seconds: more than the client waits for any answer."""
Answer = tuple[int, Any]
_FILTER = re.compile(r"metadata\[(.+)\]")


@dataclass(frozen=True)
class Asked:
    """A request on its way, and what will strike it. ``looked`` is when its run's newest listing began."""

    method: str
    path: str
    params: Mapping[str, str]
    body: bytes
    headers: Mapping[str, str]
    fault: Fault | None
    looked: float


class Wire(httpx.AsyncBaseTransport):
    """The connection of one run. ``kill`` ends the run at its ``deadly`` th request, at one of three points of it."""

    def __init__(
        self,
        server: Server,
        record: Record,
        run: Run,
        faults: Faults,
        chance: random.Random,
        *,
        deadly: int | None = None,
        kill: Callable[[], None] = lambda: None,
    ) -> None:
        self.server, self.record, self.run, self.faults, self.chance = server, record, run, faults, chance
        self.deadly, self.kill = deadly, kill

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        self.record.sends_anything(self.run)
        point = self.chance.randrange(3) if self.run.requests == self.deadly else None
        self._die(point == 0)
        asked = self._asked(request, body)
        self._announce(asked)
        if asked.fault in BEFORE:
            await asyncio.sleep(self._latency())
            self._die(point is not None)
            return self._without_effect(asked.fault)
        arrived = self._arrive(asked)
        if asked.fault is Fault.LATE:
            self._die(point is not None)
            raise httpx.ReadError("connection reset")
        answer = await arrived
        self._die(point == 1)
        await asyncio.sleep(SLOW if asked.fault is Fault.SLOW else self._latency())
        self._die(point == 2)
        return self._answered(*answer, asked.fault)

    def _die(self, now: bool) -> None:
        if now:
            self.kill()

    def _latency(self) -> float:
        return self.chance.choice((0.01, 0.05, 0.3)) * (1 + self.chance.random())

    def _asked(self, request: httpx.Request, body: bytes) -> Asked:
        path, params = request.url.path.removeprefix("/v1"), dict(request.url.params)
        lists_all = path == JOBS and request.method == "GET" and f"metadata[{NAME}]" not in params
        if lists_all and "after" not in params:
            self.run.looked = self.server.clock()
        fault = self.faults.draw(request.method, path, params)
        return Asked(request.method, path, params, body, request.headers, fault, self.run.looked)

    def _announce(self, asked: Asked) -> None:
        """Tell the record what leaves; a create only if the client cannot know that it had no effect."""
        parts = asked.path.strip("/").split("/")
        if asked.method == "DELETE" and "permissions" in parts:
            self.record.sends_revoke(self.run, parts[2], parts[-1])
        elif asked.method == "DELETE":
            self.record.sends_delete(self.run, parts[0], parts[1], asked.looked)
        elif asked.method == "POST" and "permissions" in parts:
            self.record.sends_grant(self.run, parts[2], json.loads(asked.body)["project_ids"])
        if asked.method != "POST" or not asked.path.startswith(JOBS):
            return
        if asked.path != JOBS:
            _, job_id, verb = asked.path.rsplit("/", 2)
            self.record.sends_change(self.run, verb, job_id)
        elif asked.fault not in PROOF:
            own = parse(json.loads(asked.body).get("metadata"))
            self.record.sends_create(self.run, own or Ownership("", "", "", 0))

    def _arrive(self, asked: Asked) -> asyncio.Future[Answer]:
        """Let the request have its effect a little later, whether or not anybody still waits for the answer."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()

        def effect() -> None:
            try:
                found = 200, self._effect(asked)
            except Refused as no:
                found = no.status, {"error": {"message": no.message, "type": "x", "param": None, "code": no.code}}
            if not answer.done():
                answer.set_result(found)

        late = max(self.server.quirks.lag, 1.0) / 2 if asked.fault is Fault.LATE else self._latency()
        loop.call_later(late, effect)
        return answer

    def _effect(self, asked: Asked) -> Any:
        parts = asked.path.strip("/").split("/")
        act = {"GET": self._read, "DELETE": self._delete}.get(asked.method, self._write)
        return act(asked, parts)

    def _read(self, asked: Asked, parts: list[str]) -> Any:  # noqa: PLR0911 - one for each address
        server = self.server
        match parts:
            case ["fine_tuning", "jobs"]:
                return self._listing(asked.params, asked.fault)
            case ["fine_tuning", "jobs", job_id]:
                return server.job(job_id).document()
            case ["fine_tuning", "jobs", job_id, "checkpoints"]:
                return server.checkpoints(job_id)
            case ["fine_tuning", "checkpoints", model, "permissions"]:
                self._may_ask()
                return server.access(model)
            case ["models", model]:
                return server.model(model)
            case ["files"]:
                return {"object": "list", "data": [server.file(i) for i in server.files], "has_more": False}
            case ["files", file_id]:
                return server.file(file_id)
        raise Refused(404, "unknown_url", f"{asked.method} {asked.path}")

    def _write(self, asked: Asked, parts: list[str]) -> Any:
        match parts:
            case ["fine_tuning", "jobs"]:
                job = self.server.create(json.loads(asked.body), at_once=asked.fault is Fault.LATE)
                self.record.created(self.run, job, asked.looked)
                return job.document()
            case ["fine_tuning", "jobs", job_id, verb]:
                job = self.server.change(job_id, verb)
                self.record.changed(self.run, verb, job)
                return job.document()
            case ["files"]:
                return self.server.store(*_form(asked.body, asked.headers))
            case ["fine_tuning", "checkpoints", model, "permissions"]:
                self._may_ask()
                self.record.did(self.run, "grant", model, asked.body)
                return self.server.grant(model, json.loads(asked.body)["project_ids"])
        raise Refused(404, "unknown_url", f"{asked.method} {asked.path}")

    def _delete(self, asked: Asked, parts: list[str]) -> Any:
        match parts:
            case ["fine_tuning", "checkpoints", model, "permissions", permission_id]:
                self._may_ask()
                done = self.server.revoke(model, permission_id)
            case ["files", file_id]:
                done = self.server.delete_file(file_id)
            case ["models", model]:
                done = self.server.delete_model(model)
            case _:
                raise Refused(404, "unknown_url", f"{asked.method} {asked.path}")
        verb = "revoke" if "permissions" in parts else f"delete {parts[0]}"
        self.record.did(self.run, verb, *parts[1:])
        return done

    def _may_ask(self) -> None:
        if self.server.quirks.no_permissions:
            raise Refused(403, "forbidden", "This key may not ask.")

    def _listing(self, params: Mapping[str, str], fault: Fault | None) -> dict[str, Any]:
        server = self.server
        wanted = {m[1]: value for key, value in params.items() if (m := _FILTER.fullmatch(key))}
        if fault is Fault.UNFILTERED or not server.quirks.filters:
            wanted = {}
        shift = self.chance.choice((-2, -1, 1, 2)) if fault is Fault.SHIFTED else 0
        page = server.listing(params.get("after"), int(params.get("limit", "20")), wanted, shift)
        if fault is Fault.DOUBLED and page["data"]:
            page["data"].append(self.chance.choice(page["data"]))
        if fault is Fault.HALF:
            del page["has_more"]
        return page

    def _without_effect(self, fault: Fault | None) -> httpx.Response:
        if fault is Fault.REFUSED:
            raise httpx.ConnectError("connection refused")
        if fault is Fault.LOST:
            raise httpx.ReadError("connection reset")
        if fault is Fault.BROKEN:
            return self._response(500, b'{"error": {"message": "oops", "code": null}}')
        code = "daily_rate_limit_exceeded" if fault is Fault.DAILY else "rate_limit_exceeded"
        told = self.chance.choice(({"retry-after": "2"}, {"retry-after-ms": "300"}, {}))
        return self._response(429, json.dumps({"error": {"message": "slower", "code": code}}).encode(), told)

    def _answered(self, status: int, document: Any, fault: Fault | None) -> httpx.Response:
        content = json.dumps(document).encode()
        match fault:
            case Fault.DROPPED:
                raise httpx.RemoteProtocolError("peer closed the connection")
            case Fault.SPOILED:
                return self._response(502, b"bad gateway")
            case Fault.PAGE:
                return self._response(503, b"<html>be right back</html>", {"content-type": "text/html"})
            case Fault.TRUNCATED if status == 200:
                return self._response(200, content[: len(content) // 2])
        return self._response(status, content)

    def _response(self, status: int, content: bytes, headers: Mapping[str, str] = {}) -> httpx.Response:
        date = {"date": formatdate(self.server.unix, usegmt=True)} if self.server.quirks.tells_time else {}
        return httpx.Response(status, headers={**date, **headers}, content=content)


def _form(body: bytes, headers: Mapping[str, str]) -> tuple[str, bytes]:
    """Read the file out of a multipart body."""
    boundary = headers["content-type"].partition("boundary=")[2].encode()
    for part in body.split(b"--" + boundary):
        head, _, content = part.partition(b"\r\n\r\n")
        if name := re.search(rb'filename="([^"]+)"', head):
            return name[1].decode(), content.removesuffix(b"\r\n")
    raise Refused(400, "invalid_form", "No file.")
