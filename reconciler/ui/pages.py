"""The pages at ``/ui``: static files, the data they show, and the news that makes them ask again."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import get_args

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reconciler.errors import ReconcilerError
from reconciler.report.palette import DARK, LIGHT
from reconciler.ui import shape
from reconciler.ui.access import Access
from reconciler.ui.answers import NOT_KEPT, as_json, body_of, failed, found, refused
from reconciler.ui.desk import routes as desk_routes
from reconciler.ui.news import News
from reconciler.ui.source import Desk, Query, Source, Verb

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_API_HEADERS = {"Content-Security-Policy": "default-src 'none'; sandbox", "X-Content-Type-Options": "nosniff"}
"""On what the API answers from the same origin: a file that somebody uploaded must never become a page of it."""
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_MOST_ROWS = 200
_MOST_STATUSES = 50
_MOST_LOGIN = 4096
_WRONG_TOKEN_SECONDS = 0.5


class Pages:
    """Serves the pages of one source; those of specs too, where it is a desk."""

    def __init__(self, source: Source, access: Access, desk: Desk | None = None) -> None:
        self._source, self._access, self._desk = source, access, desk
        self._news = News(source.version)
        data = {
            "about": self._about,
            "jobs": self._jobs,
            "jobs/{job_id}": self._job,
            "jobs/{job_id}/events": self._events,
            "stream": self._stream,
        }
        self._app = Starlette(
            routes=[
                Route("/", _to_the_pages),
                Route("/ui", _to_the_pages),
                Route("/ui/", _static),
                Route("/ui/static/{name:path}", _static),
                Route("/ui/login", self._login, methods=["POST"]),
                Route("/ui/logout", self._logout, methods=["POST"]),
                *(Route(f"/ui/data/{path}", answer) for path, answer in data.items()),
                Route("/ui/data/jobs/{job_id}/{verb}", self._act, methods=["POST"]),
                *(desk_routes(desk) if desk else ()),
            ],
            exception_handlers={HTTPException: refused, ReconcilerError: failed},
        )

    def beside(self, app: ASGIApp) -> ASGIApp:
        """Return an application that serves these pages at ``/`` and ``/ui``, and ``app`` everywhere else."""

        async def both(scope: Scope, receive: Receive, send: Send) -> None:
            path = scope.get("path", "")
            if scope["type"] == "http" and (path in ("/", "/ui") or path.startswith("/ui/")):
                await self(scope, receive, send)
            else:
                await app(scope, receive, _adding(_API_HEADERS, send))

        return both

    def close(self) -> None:
        """End the streams of news, which have no end of their own."""
        self._news.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: what is public at once, data only to who may see it."""
        request, send = Request(scope, receive), _adding(_HEADERS, send)
        try:
            self._access.admit(request)
            if request.url.path.startswith("/ui/data/"):
                self._access.check(request)
        except HTTPException as refusal:
            await (await refused(request, refusal))(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    # Data

    async def _about(self, _: Request) -> Response:
        return as_json(
            {"title": self._source.title, "login": self._access.token is not None, "watch": self._desk is not None}
        )

    async def _jobs(self, request: Request) -> Response:
        asked = request.query_params
        query = Query(
            statuses=tuple(asked.getlist("status")[:_MOST_STATUSES]),
            owner=asked.get("owner") or None,
            text=asked.get("text", "").strip()[:200],
            offset=_whole(asked.get("offset"), 0, 1_000_000),
            limit=max(1, _whole(asked.get("limit"), 50, _MOST_ROWS)),
        )
        return as_json(shape.listing(await self._source.jobs(query)))

    async def _job(self, request: Request) -> Response:
        return as_json(shape.details(found(await self._source.job(request.path_params["job_id"]), "job")))

    async def _events(self, request: Request) -> Response:
        asked = request.query_params
        page = await self._source.events(
            request.path_params["job_id"],
            after=asked.get("after") or None,
            limit=max(1, _whole(asked.get("limit"), 50, _MOST_ROWS)),
            steps=asked.get("steps") == "true",
        )
        return as_json(shape.events(found(page, "job")))

    async def _act(self, request: Request) -> Response:
        verb: Verb = request.path_params["verb"]
        if verb not in get_args(Verb):
            raise HTTPException(404, "There is no such action.")
        await self._source.act(request.path_params["job_id"], verb)
        return as_json({})

    async def _stream(self, _: Request) -> Response:
        if self._news.full:
            raise HTTPException(503, "Too many pages are open.", {"Retry-After": "10"})
        return StreamingResponse(self._news.read(), media_type="text/event-stream", headers=NOT_KEPT)

    # Login

    async def _login(self, request: Request) -> Response:
        body = await body_of(request, _MOST_LOGIN)
        if not self._access.is_token(body.decode(errors="replace").strip()):
            await asyncio.sleep(_WRONG_TOKEN_SECONDS)
            raise HTTPException(401, "That is not the token.")
        answer = as_json({})
        answer.set_cookie(
            self._access.cookie(request), self._access.session, path="/ui", httponly=True, samesite="strict",
            secure=request.url.scheme == "https",
        )  # fmt: skip
        return answer

    async def _logout(self, request: Request) -> Response:
        answer = as_json({})
        answer.delete_cookie(self._access.cookie(request), path="/ui", httponly=True, samesite="strict")
        return answer


def _whole(text: str | None, default: int, most: int) -> int:
    return min(int(text), most) if text and text.isascii() and text.isdigit() and len(text) < 10 else default


async def _to_the_pages(_: Request) -> Response:
    return RedirectResponse("/ui/")


async def _static(request: Request) -> Response:
    name = request.path_params.get("name", "index.html")
    content, tag = found(_files().get(name), "page")
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=_TYPES[name.rpartition(".")[2]], headers=headers)


@cache
def _files() -> Mapping[str, tuple[bytes, str]]:
    """Every file that may be given out, with its tag: what is not here does not exist, whatever its path."""
    root = files("reconciler.ui") / "static"
    found = {"palette.css": _palette().encode()}
    for folder, prefix in ((root, ""), (root / "vendor", "vendor/")):
        for file in folder.iterdir():
            if file.is_file() and file.name.rpartition(".")[2] in _TYPES:
                found[prefix + file.name] = file.read_bytes()
    return {name: (content, f'"{hashlib.sha256(content).hexdigest()[:24]}"') for name, content in found.items()}


def _palette() -> str:
    """The colours, which reports share: the system's choice of light or dark, unless a person has chosen."""
    dark = f"color-scheme:dark;{DARK}"
    return (
        f":root{{color-scheme:light;{LIGHT}}}\n"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}}}}}\n"
        f":root[data-theme=dark]{{{dark}}}\n"
    )


def _adding(headers: Mapping[str, str], send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = MutableHeaders(scope=message)
            for name, value in headers.items():
                given[name] = value
        await send(message)

    return with_headers
