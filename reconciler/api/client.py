"""The fine-tuning API as methods. What is safe to repeat is repeated here, and nothing else.

Reading is retried. Creating is sent once: only an answer (or a connection) that proves nothing happened allows
another try, and an unknown outcome is the caller's to resolve by looking. Cancelling, pausing and resuming look
at the job after an error before they repeat themselves.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from reconciler.api.answers import BASE_URL_HINT, Reply, parse
from reconciler.api.retry import Backoff, Clock, OnRetry, Retrier, Sleep
from reconciler.api.server import Server
from reconciler.api.transport import Transport
from reconciler.api.types import (
    Checkpoint,
    CreateJob,
    Event,
    FileObject,
    Job,
    ModelObject,
    Page,
    Permission,
    Upload,
    UploadPart,
)
from reconciler.errors import (
    ApiError,
    NoAnswer,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    NotThisApi,
    PermanentError,
    RateLimited,
    TransientError,
    UnreliableListing,
    Unsupported,
)

if TYPE_CHECKING:
    import httpx

M = TypeVar("M", bound=BaseModel)
Row = TypeVar("Row", Checkpoint, Event, FileObject, Permission)

PAGE = 100
JOBS = "/fine_tuning/jobs"


class Client:
    """A connection to one server, to be used as an asynchronous context manager.

    ``transport`` replaces the network. ``clock`` gives Unix seconds. ``on_retry`` is told of each wait before it
    begins. Every method raises ApiError for what a server refuses or fails to answer.
    """

    def __init__(
        self,
        server: Server,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock = time.time,
        sleep: Sleep = asyncio.sleep,
        random: Callable[[], float] = random.random,
        on_retry: OnRetry | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self.server = server
        self.clock = clock
        self.sleep = sleep
        self.retrier = Retrier(clock, sleep, random, on_retry, backoff or Backoff())
        self.server_time: float | None = None
        """The server's clock at its newest answer, in Unix seconds; None while it has not told."""
        self.request_ids: dict[str, str] = {}
        """By job: the server's id of the answer that made the job or changed it last."""
        self.requests = 0
        """How many requests were sent."""
        self._transport = Transport(server, transport, clock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.aclose()

    # Jobs

    async def create_job(self, body: CreateJob) -> Job:
        """Start a job, which costs money. Sent once.

        Raises:
            NoAnswer: nothing readable came back; if it was ``sent``, the job may exist.
            ServerFault: the job may exist.
        """
        content = body.model_dump_json(exclude_none=True).encode()
        patience = self.retrier.patience()
        while True:
            try:
                reply = await self._send("POST", JOBS, content=content)
                return self._settled(parse(reply, Job), reply)
            except TransientError as error:
                if not proves_nothing_happened(error):
                    raise
                await patience.after(error)
            except PermanentError as error:
                if error.status < 200 or 300 <= error.status < 500:
                    raise
                # An answer that nobody can read refuses nothing.
                unread = NoAnswer(error.message, hint=error.hint, status=error.status, request_id=error.request_id)
                raise unread from error

    async def job(self, job_id: str) -> Job:
        """Retrieve a job."""
        return await self._get(_job_path(job_id), Job)

    async def cancel_job(self, job_id: str) -> Job:
        """Cancel a job, for good. A job that is already cancelled is returned as it is."""
        return await self._change(job_id, "cancel", lambda status: status == "cancelled")

    async def pause_job(self, job_id: str) -> Job:
        """Pause a running job. A job that is already paused is returned as it is.

        Raises:
            Unsupported: this server cannot pause.
        """
        return await self._change(job_id, "pause", lambda status: status in ("paused", "pausing"))

    async def resume_job(self, job_id: str) -> Job:
        """Resume a paused job. A job that is already on its way again is returned as it is.

        Raises:
            Unsupported: this server cannot resume.
        """
        return await self._change(job_id, "resume", lambda status: status in ("resuming", "queued", "running"))

    async def _change(self, job_id: str, verb: str, reached: Callable[[str], bool]) -> Job:
        patience = self.retrier.patience()
        while True:
            try:
                reply = await self._send("POST", f"{_job_path(job_id)}/{verb}", content=b"")
                return self._settled(parse(reply, Job), reply)
            except (NotAuthenticated, NotPermitted):
                raise
            except ApiError as error:
                job = await self.job(job_id)
                if reached(job.status):
                    return job
                if isinstance(error, NotFound | Unsupported):
                    raise _unsupported(verb, error) from error
                if not isinstance(error, TransientError):
                    raise
                await patience.after(error)

    def _settled(self, job: Job, reply: Reply) -> Job:
        if reply.request_id:
            self.request_ids[job.id] = reply.request_id
        return job

    async def jobs_page(
        self, after: str | None = None, limit: int = PAGE, metadata: Mapping[str, str] | None = None
    ) -> Page[Job]:
        """Read one page of jobs, newest first. A server may ignore ``metadata``: filter again.

        Raises:
            NotThisApi: the answer is no list of jobs.
        """
        params = {"limit": str(limit)} | ({"after": after} if after is not None else {})
        params |= {f"metadata[{key}]": value for key, value in (metadata or {}).items()}
        try:
            page = await self._get(JOBS, Page[Job], params)
        except NotFound as error:
            if after is not None:
                raise
            raise NotThisApi(
                f"{self.server.base_url} has no fine-tuning jobs: {error.message}",
                hint=BASE_URL_HINT,
                status=error.status,
                request_id=error.request_id,
            ) from error
        if page.object != "list" or "object" not in page.model_fields_set:
            raise NotThisApi(f"{self.server.base_url} does not answer with a list of jobs.", hint=BASE_URL_HINT)
        return page

    async def events(self, job_id: str, after: str | None = None, limit: int = 20) -> Page[Event]:
        """Read one page of a job's events, newest first."""
        params = {"limit": str(limit)} | ({"after": after} if after is not None else {})
        return await self._get(f"{_job_path(job_id)}/events", Page[Event], params)

    async def events_since(self, job_id: str, seen: str | None = None) -> list[Event]:
        """Read the events newer than the event ``seen``, oldest first; all of them where it is None."""
        fresh: list[Event] = []
        async for event in self._rows(f"{_job_path(job_id)}/events", Page[Event], {"limit": str(PAGE)}):
            if event.id == seen:
                break
            fresh.append(event)
        return fresh[::-1]

    async def checkpoints(self, job_id: str) -> list[Checkpoint]:
        """Read all checkpoints of a job, oldest first."""
        rows = self._rows(f"{_job_path(job_id)}/checkpoints", Page[Checkpoint], {"limit": str(PAGE)})
        return sorted([row async for row in rows], key=lambda c: (c.step_number, c.created_at, c.id))

    # Files

    async def file(self, file_id: str) -> FileObject:
        """Retrieve what is known of a file."""
        return await self._get(f"/files/{_segment(file_id)}", FileObject)

    async def files(self, purpose: str | None = None) -> list[FileObject]:
        """Read the list of files, whole, in pages of the size that the server prefers."""
        params = {"purpose": purpose} if purpose else {}
        return [row async for row in self._rows("/files", Page[FileObject], params)]

    async def download(self, file_id: str, sink: Callable[[bytes], object]) -> None:
        """Hand a file's content to ``sink``, piece by piece, once. After an error, what came is not all."""
        reply = await self._transport.send("GET", f"/files/{_segment(file_id)}/content", sink=sink)
        self.server_time = reply.time or self.server_time

    async def send_file(self, content: AsyncIterable[bytes], headers: Mapping[str, str]) -> FileObject:
        """Send one multipart body to the files, once."""
        return parse(await self._send("POST", "/files", content=content, headers=headers), FileObject)

    async def delete_file(self, file_id: str) -> None:
        """Delete a file.

        Raises:
            Conflict: a job needs it.
        """
        await self._delete(f"/files/{_segment(file_id)}")

    async def begin_upload(self, name: str, size: int) -> Upload:
        """Begin to send a file of ``size`` bytes in parts. One that is begun and not completed expires by itself.

        Raises:
            Unsupported: this server takes files whole.
        """
        body = {"filename": name, "bytes": size, "purpose": "fine-tune", "mime_type": "application/jsonl"}

        async def once() -> Upload:
            return parse(await self._send("POST", "/uploads", content=json.dumps(body).encode()), Upload)

        try:
            return await self.retrier.read(once)
        except NotFound as error:
            raise Unsupported(f"This server takes no files in parts: {error.message}", status=error.status) from error

    async def send_part(self, upload_id: str, content: AsyncIterable[bytes], headers: Mapping[str, str]) -> UploadPart:
        """Send one multipart body as a part of an upload, once."""
        path = f"/uploads/{_segment(upload_id)}/parts"
        return parse(await self._send("POST", path, content=content, headers=headers), UploadPart)

    async def complete_upload(self, upload_id: str, part_ids: Sequence[str], md5: str) -> Upload:
        """Make a file of parts, in this order; sent once."""
        content = json.dumps({"part_ids": list(part_ids), "md5": md5}).encode()
        return parse(await self._send("POST", f"/uploads/{_segment(upload_id)}/complete", content=content), Upload)

    async def cancel_upload(self, upload_id: str) -> None:
        """Give an upload up; sent once."""
        await self._send("POST", f"/uploads/{_segment(upload_id)}/cancel", content=b"")

    # Models

    async def model(self, model: str) -> ModelObject:
        """Retrieve what is known of a model."""
        return await self._get(f"/models/{_segment(model)}", ModelObject)

    async def permissions(self, model: str) -> list[Permission]:
        """Read which projects may use a model or a checkpoint, whole."""
        return [row async for row in self._rows(_permissions_path(model), Page[Permission], {"limit": str(PAGE)})]

    async def grant(self, model: str, projects: Sequence[str]) -> None:
        """Let projects use a model. After an unknown outcome, only those are asked for again that are not let in."""
        patience = self.retrier.patience()
        left = list(projects)
        while left:
            try:
                await self._send("POST", _permissions_path(model), content=json.dumps({"project_ids": left}).encode())
            except TransientError as error:
                await patience.after(error)
                granted = {permission.project_id for permission in await self.permissions(model)}
                left = [project for project in left if project not in granted]
            else:
                return

    async def revoke(self, model: str, permission_id: str) -> None:
        """Take one permission back."""
        await self._delete(f"{_permissions_path(model)}/{_segment(permission_id)}")

    async def delete_model(self, model: str) -> None:
        """Delete a fine-tuned model, for good."""
        await self._delete(f"/models/{_segment(model)}")

    # The wire

    async def probe(self, method: str, path: str) -> None:
        """Send one request without a body, once, to find out what a server makes of it."""
        await self._send(method, path, content=b"" if method == "POST" else None)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes | AsyncIterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        if headers is None and content:
            headers = {"Content-Type": "application/json"}
        self.requests += 1
        reply = await self._transport.send(method, path, params=params, content=content, headers=headers)
        self.server_time = reply.time or self.server_time
        return reply

    async def _delete(self, path: str) -> None:
        """Delete what is there. After an unknown outcome, that it is gone is what was asked for."""
        patience = self.retrier.patience()
        while True:
            try:
                await self._send("DELETE", path)
            except TransientError as error:
                await patience.after(error)
            except NotFound:
                if not patience.failures:
                    raise
                return
            else:
                return

    async def _get(self, path: str, model: type[M], params: Mapping[str, str] | None = None) -> M:
        async def once() -> M:
            return parse(await self._send("GET", path, params=params), model)

        return await self.retrier.read(once)

    async def _rows(self, path: str, page: type[Page[Row]], params: Mapping[str, str]) -> AsyncIterator[Row]:
        """Go through all pages of a list.

        Raises:
            UnreliableListing: a page says that more follows and brings nothing new.
        """
        seen: set[str] = set()
        after: dict[str, str] = {}
        while True:
            answer = await self._get(path, page, {**params, **after})
            fresh = [row for row in answer.data if row.id not in seen]
            for row in fresh:
                yield row
            if not answer.has_more:
                return
            if not fresh:
                raise UnreliableListing(f"{self.server.base_url}{path} says that more follows, and repeats itself.")
            seen.update(row.id for row in fresh)
            after = {"after": answer.data[-1].id}


def proves_nothing_happened(error: ApiError) -> bool:
    """Whether a request certainly had no effect: it was turned away, or never left this machine."""
    return isinstance(error, RateLimited) or (isinstance(error, NoAnswer) and not error.sent)


def _unsupported(verb: str, error: ApiError) -> Unsupported:
    return Unsupported(
        f"This server cannot {verb} jobs: {error.message}",
        hint=f"Leave the job as it is, or use a server that can {verb} jobs.",
        status=error.status,
        code=error.code,
        request_id=error.request_id,
    )


def _job_path(job_id: str) -> str:
    return f"{JOBS}/{_segment(job_id)}"


def _permissions_path(model: str) -> str:
    return f"/fine_tuning/checkpoints/{_segment(model)}/permissions"


def _segment(identifier: str) -> str:
    """Make an id safe inside a path; an empty one, or dots, would name another place."""
    if not identifier.strip(".") or len(identifier) > 512:
        raise NotFound(f"{identifier[:80]!r} is no id of anything.")
    return quote(identifier, safe="", errors="replace")
