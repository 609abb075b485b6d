"""The layer: requests pass through it to the application, and answers back, struck by the rules' faults."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from email.utils import formatdate
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reconciler.server.chaos.exchange import FILES, JOBS, Answer, Asked, Listing, Moment
from reconciler.server.chaos.faults import Fault
from reconciler.server.chaos.rules import Chaos
from reconciler.server.documents import Document, dump
from reconciler.server.problems import Problem, printable

_PREFIX = "/v1"
_PAGE = 100
_USUAL_LIMITS = {JOBS: 20, FILES: 10_000}


class ChaosLayer:
    """Middleware, inside the one that checks keys. ``clock`` gives Unix seconds.

    It dates every answer itself, so that a wrong clock is wrong everywhere.
    """

    def __init__(
        self,
        app: ASGIApp,
        chaos: Chaos,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._app = app
        self._chaos = chaos
        self._clock = clock
        self._sleep = sleep

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or not scope["path"].startswith(f"{_PREFIX}/"):
            await self._app(scope, receive, send)
            return
        asked = await _asked(scope, receive)
        now = self._clock()
        faults = self._chaos.strike(asked, now)
        if not faults and asked.method == "GET":
            await self._app(scope, receive, _dated(send, now))
            return
        for fault in faults:
            asked = fault.heard(asked)
        answer = await self._answer(scope, receive, asked, faults)
        for fault in faults:
            answer = fault.answer(answer)
        await self._sleep(sum(fault.delay for fault in faults))
        await _send(answer, _dated(send, self._clock() + sum(fault.skew for fault in faults)))

    async def _answer(self, scope: Scope, receive: Receive, asked: Asked, faults: Sequence[Fault]) -> Answer:
        for fault in faults:
            answer = fault.instead(asked, self._chaos.moment(self._clock()))
            if answer is not None:
                return answer
        if faults and asked.lists:
            answer = await self._page(scope, asked, faults)
        else:
            answer = await _call(self._app, scope, asked, receive)
            self._remember(asked, answer)
        return _redrawn(answer, faults, self._chaos.moment(self._clock()))

    def _remember(self, asked: Asked, answer: Answer) -> None:
        if asked.method != "POST" or (document := answer.document) is None:
            return
        if asked.path in (JOBS, FILES):
            self._chaos.memory.born[document["id"]] = self._clock()
        elif asked.turns is not None:
            job_id, turning = asked.turns
            self._chaos.memory.turned[job_id] = (turning, self._clock())

    async def _page(self, scope: Scope, asked: Asked, faults: Sequence[Fault]) -> Answer:
        """Cut a page from the whole list, so that faults of lists are right on every page."""
        query = dict(asked.query)
        first = await _call(self._app, scope, replace(asked, query=_without(asked.query, "after")))
        page = first.document
        if page is None:
            return first
        rows: list[Document] = list(page["data"])
        while page["has_more"]:
            following = (*_without(asked.query, "after", "limit"), ("limit", str(_PAGE)), ("after", rows[-1]["id"]))
            page = (await _call(self._app, scope, replace(asked, query=following))).document
            if page is None:
                break
            rows += page["data"]
        listing = Listing(rows, query.get("after"), int(query.get("limit", _USUAL_LIMITS[asked.path])))
        for fault in faults:
            fault.listing(listing, self._chaos.moment(self._clock()))
        try:
            shown = listing.page()
        except LookupError as error:
            words = f"'after' is {printable(str(error))}, which is not in this list."
            raise Problem(400, words, code="invalid_cursor", param="after") from error
        ends = {"first_id": shown["data"][0]["id"], "last_id": shown["data"][-1]["id"]} if shown["data"] else {}
        edges = {name: end for name, end in ends.items() if asked.path == FILES}
        return replace(first, body=dump({"object": "list", **shown, **edges}).encode())


def _without(query: Sequence[tuple[str, str]], *names: str) -> tuple[tuple[str, str], ...]:
    return tuple(pair for pair in query if pair[0] not in names)


def _redrawn(answer: Answer, faults: Sequence[Fault], moment: Moment) -> Answer:
    """Let faults change what is shown, row by row."""
    document = answer.document
    if not faults or document is None:
        return answer

    def drawn(row: Document) -> Document:
        for fault in faults:
            row = fault.shown(row, moment)
        return row

    rows = document.get("data") if document.get("object") == "list" else None
    shown = drawn(document) if rows is None else {**document, "data": [drawn(row) for row in rows]}
    return replace(answer, body=dump(shown).encode())


async def _asked(scope: Scope, receive: Receive) -> Asked:
    path, method = scope["path"].removeprefix(_PREFIX), scope["method"]
    query = tuple(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    body = await Request(scope, receive).body() if (method, path) == ("POST", JOBS) else None
    return Asked(method, path, query, body)


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _call(app: ASGIApp, scope: Scope, asked: Asked, receive: Receive = _nothing) -> Answer:
    """Ask the application, and take its answer whole."""
    status, headers, body = 500, Headers(), bytearray()

    async def hear() -> Message:
        return {"type": "http.request", "body": asked.body, "more_body": False}

    async def take(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], Headers(raw=message.get("headers", []))
        else:
            body.extend(message.get("body", b""))

    sent = [pair for pair in scope["headers"] if asked.body is None or pair[0] != b"content-length"]
    heard = {**scope, "query_string": urlencode(asked.query).encode(), "headers": sent}
    await app(heard, receive if asked.body is None else hear, take)
    return Answer(status, dict(headers), bytes(body))


def _dated(send: Send, now: float) -> Send:
    async def dated(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["date"] = formatdate(now, usegmt=True)
        await send(message)

    return dated


async def _send(answer: Answer, send: Send) -> None:
    """Send an answer; a lost one begins and never comes, so that the server closes the connection."""
    length = "1" if answer.lost else str(len(answer.body))
    headers = Headers({**answer.headers, "content-length": length})
    await send({"type": "http.response.start", "status": answer.status, "headers": headers.raw})
    if not answer.lost:
        await send({"type": "http.response.body", "body": answer.body})
