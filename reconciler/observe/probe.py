"""What a server is like, found out without changing anything on it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

from reconciler.api.client import JOBS, Client
from reconciler.errors import ApiError, NotAuthenticated, NotPermitted, ReconcilerError, TransientError, Unsupported

State = Literal["ok", "warning", "failed", "unknown"]

MOST_SKEW = 60.0
"""Seconds between two clocks beyond which somebody should look."""
PROBED = ("server", "key", "metadata filter", "pause", "clock")
"""The names of the checks that ``probe`` makes, in order."""
_NOWHERE = f"{JOBS}/ftjob-there-is-no-such-job"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: its state, what was found, and what to do next (empty where nothing is)."""

    name: str
    state: State
    found: str
    hint: str = ""


async def probe(client: Client) -> AsyncIterator[Check]:
    """Look at a server, check by check. Where it cannot be read, the later ones are unknown.

    Nothing is created, changed or cancelled: what is asked to pause is a job that cannot exist.
    """
    try:
        page = await client.jobs_page(limit=1)
    except ReconcilerError as error:
        for check in _unread(error):
            yield check
        return
    yield Check("server", "ok", f"{client.server.base_url} answers")
    yield Check("key", "ok", "is accepted" if client.server.key else "none is sent, and none is asked for")
    yield await _filter(client, any_jobs=bool(page.data))
    yield await _pause(client)
    yield _clock(client)


def _unread(error: ReconcilerError) -> list[Check]:
    """Say what an error leaves to know: a refused key is an answer too."""
    refused = isinstance(error, NotAuthenticated | NotPermitted)
    answered = isinstance(error, ApiError) and error.status > 0
    checks = [Check("server", "ok", "answers")] if refused else [Check("server", "failed", str(error), error.hint)]
    if refused:
        checks.append(Check("key", "failed", str(error), error.hint))
    why = "the server could not be read" if answered else "the server could not be reached"
    return checks + [Check(name, "unknown", why) for name in PROBED[len(checks) :]]


async def _filter(client: Client, *, any_jobs: bool) -> Check:
    """Ask for jobs with a label that no job has."""
    name = "metadata filter"
    try:
        page = await client.jobs_page(limit=1, metadata={"reconciler.doctor": secrets.token_hex(16)})
    except TransientError as error:
        return Check(name, "unknown", str(error), error.hint)
    except ReconcilerError as error:
        return Check(name, "warning", f"is refused: {error}", "Lists are read whole and filtered here; that is slower.")
    if page.data:
        return Check(name, "warning", "is ignored", "Lists are read whole and filtered here; that is slower.")
    if not any_jobs:
        return Check(name, "unknown", "cannot be told while the server has no jobs")
    return Check(name, "ok", "is honoured")


async def _pause(client: Client) -> Check:
    """Compare pausing a job that cannot exist with reading it, and with an operation that cannot exist."""
    pause = await _answer(client, "POST", f"{_NOWHERE}/pause")
    if pause is not None and (isinstance(pause, Unsupported) or pause.status in (405, 501)):
        return Check("pause", "warning", "this server cannot pause", "Do not ask for `state: paused` here.")
    known = await _answer(client, "GET", _NOWHERE)
    odd = await _answer(client, "POST", f"{_NOWHERE}/no-such-operation")
    if pause and known and odd and _about_the_job(pause, known, odd):
        return Check("pause", "ok", "is offered")
    return Check("pause", "unknown", "cannot be told without a job to try it on")


async def _answer(client: Client, method: str, path: str) -> ApiError | None:
    try:
        await client.probe(method, path)
    except ApiError as error:
        return error
    return None


def _about_the_job(pause: ApiError, known: ApiError, odd: ApiError) -> bool:
    """Whether what is said to a pause is that the job is missing, not that the operation is.

    The words may differ where a code says it: some servers name the operation in every message.
    """
    if (pause.status, known.status) != (404, 404):
        return False
    if (pause.code, pause.message) == (known.code, known.message):
        return (pause.status, pause.code, pause.message) != (odd.status, odd.code, odd.message)
    return pause.code is not None and pause.code == known.code and pause.code != odd.code


def _clock(client: Client) -> Check:
    if client.server_time is None:
        return Check("clock", "unknown", "the server does not tell the time")
    skew = client.server_time - client.clock()
    if abs(skew) <= MOST_SKEW:
        return Check("clock", "ok", "agrees with this machine's")
    words = f"the server's is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
    return Check("clock", "warning", words, "Set both by NTP; times in plans are the server's.")
