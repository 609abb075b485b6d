"""The data of a watch's own pages: specs, what waits for approval, and what was done."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reconciler.ui.answers import as_json, found, json_of
from reconciler.ui.source import Desk


def routes(desk: Desk) -> list[Route]:
    """Return the routes below ``/ui/data/``."""

    async def overview(_: Request) -> Response:
        return as_json(await desk.overview())

    async def history(_: Request) -> Response:
        return as_json(await desk.history())

    async def spec(request: Request) -> Response:
        return as_json(found(await desk.spec(request.path_params["name"]), "spec"))

    async def approve(request: Request) -> Response:
        match await json_of(request):
            case {"runs": list(runs)} if all(_is_run(run) for run in runs):
                await desk.approve([(name, revision) for name, revision in runs])
                return as_json({})
        raise HTTPException(400, "Send the runs as pairs of name and revision.")

    async def edit(request: Request) -> Response:
        match await json_of(request):
            case {"state": str(state), "write": bool(write)}:
                return as_json({"diff": await desk.edit(request.path_params["name"], state, write=write)})
        raise HTTPException(400, "Send a state, and whether to write it.")

    return [
        Route("/ui/data/overview", overview),
        Route("/ui/data/history", history),
        Route("/ui/data/specs/{name}", spec),
        Route("/ui/data/approve", approve, methods=["POST"]),
        Route("/ui/data/specs/{name}/state", edit, methods=["POST"]),
    ]


def _is_run(run: object) -> bool:
    return isinstance(run, list) and len(run) == 2 and all(isinstance(part, str) for part in run)
