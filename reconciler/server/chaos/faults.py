"""The faults: what each does to requests, answers, lists and what is shown.

A fault overrides the hooks of :class:`Fault` that it needs, and nothing else knows what it does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from reconciler.server.chaos.exchange import Answer, Asked, Listing, Moment
from reconciler.server.documents import Document, dump
from reconciler.server.problems import Problem

Seconds = Annotated[float, Field(gt=0, le=86_400)]
When = Literal["before", "after"]
_TIMES = ("created_at", "finished_at", "estimated_finish")


class Fault(BaseModel):
    """Something that goes wrong. Every hook returns what it was given, unless a fault says otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: str

    def heard(self, asked: Asked) -> Asked:
        """Return the request that the server hears."""
        return asked

    def instead(self, asked: Asked, moment: Moment) -> Answer | None:  # noqa: ARG002
        """Return an answer for a request that then never reaches the server, or None."""
        return None

    def listing(self, listing: Listing, moment: Moment) -> None:
        """Change how pages are cut."""

    def shown(self, document: Document, moment: Moment) -> Document:  # noqa: ARG002
        """Return a job, file, event or checkpoint as it is shown."""
        return document

    def answer(self, answer: Answer) -> Answer:
        """Return the answer that is sent, once the server has done what was asked."""
        return answer

    @property
    def delay(self) -> float:
        """Seconds until the answer is sent."""
        return 0.0

    @property
    def skew(self) -> float:
        """Seconds by which the server's clock is wrong."""
        return 0.0


class Error(Fault):
    """Another answer than the server's: a status, in one of the shapes that are seen.

    ``when: after`` lets the server do what was asked first. ``retry_after`` (seconds) and ``retry_after_ms`` become
    headers; without them there are none.
    """

    kind: Literal["error"]
    status: Annotated[int, Field(ge=200, le=599)] = 500
    when: When = "before"
    shape: Literal["api", "detail", "text", "html", "empty"] = "api"
    code: str | None = None
    message: str = "An error on purpose."
    retry_after: Annotated[float, Field(ge=0)] | None = None
    retry_after_ms: Annotated[int, Field(ge=0)] | None = None

    def instead(self, asked: Asked, moment: Moment) -> Answer | None:  # noqa: ARG002, D102
        return self._made() if self.when == "before" else None

    def answer(self, answer: Answer) -> Answer:  # noqa: D102
        return self._made() if self.when == "after" else answer

    def _made(self) -> Answer:
        asks = {"retry-after": self.retry_after, "retry-after-ms": self.retry_after_ms}
        waits = {name: f"{value:g}" for name, value in asks.items() if value is not None}
        kind, body = self._body()
        return Answer(self.status, {"content-type": kind, **waits}, body)

    def _body(self) -> tuple[str, bytes]:
        match self.shape:
            case "api":
                problem = Problem(self.status, self.message, code=self.code)
                return "application/json", bytes(problem.response.body)
            case "detail":
                return "application/json", dump({"detail": self.message}).encode()
            case "html":
                page = (
                    f"<!doctype html><html><head><title>{self.status}</title></head><body>{self.message}</body></html>"
                )
                return "text/html", page.encode()
            case _:
                return "text/plain", b"" if self.shape == "empty" else self.message.encode()


class Drop(Fault):
    """The connection is closed without an answer; with ``when: after``, after the server has done what was asked."""

    kind: Literal["drop"]
    when: When = "before"
    _LOST: ClassVar[Answer] = Answer(200, {"content-type": "application/json"}, lost=True)

    def instead(self, asked: Asked, moment: Moment) -> Answer | None:  # noqa: ARG002, D102
        return self._LOST if self.when == "before" else None

    def answer(self, answer: Answer) -> Answer:  # noqa: ARG002, D102
        return self._LOST


class Slow(Fault):
    """The answer takes ``seconds`` longer. What was asked is done at once."""

    kind: Literal["slow"]
    seconds: Seconds

    @property
    def delay(self) -> float:  # noqa: D102
        return self.seconds


class Truncate(Fault):
    """Only the first half of the answer's JSON arrives, as if that were all."""

    kind: Literal["truncate"]

    def answer(self, answer: Answer) -> Answer:  # noqa: D102
        return replace(answer, body=answer.body[: len(answer.body) // 2])


class Lag(Fault):
    """Jobs and files are missing from lists until ``seconds`` after they were made; by their id they are found."""

    kind: Literal["lag"]
    seconds: Seconds

    def listing(self, listing: Listing, moment: Moment) -> None:  # noqa: D102
        since = moment.now - self.seconds
        listing.rows = [row for row in listing.rows if moment.memory.born.get(row["id"], since) <= since]


class Unfiltered(Fault):
    """Lists of jobs ignore the metadata they are asked for."""

    kind: Literal["unfiltered"]

    def heard(self, asked: Asked) -> Asked:  # noqa: D102
        if not asked.lists:
            return asked
        return replace(asked, query=tuple(pair for pair in asked.query if not pair[0].startswith("metadata")))


class Pages(Fault):
    """Lists come in pages of at most ``most`` rows, whatever was asked for."""

    kind: Literal["pages"]
    most: Annotated[int, Field(ge=1)]

    def listing(self, listing: Listing, moment: Moment) -> None:  # noqa: ARG002, D102
        listing.limit = min(listing.limit, self.most)


class Shift(Fault):
    """Every page but the first begins ``rows`` too late (it skips some) or, below zero, too early (it repeats some)."""

    kind: Literal["shift"]
    rows: int

    def listing(self, listing: Listing, moment: Moment) -> None:  # noqa: ARG002, D102
        listing.shift += self.rows


class Duplicate(Fault):
    """Every page but the first begins with a row of the first page."""

    kind: Literal["duplicate"]

    def listing(self, listing: Listing, moment: Moment) -> None:  # noqa: ARG002, D102
        listing.repeats = True


class OldestFirst(Fault):
    """Lists begin with the oldest."""

    kind: Literal["oldest_first"]

    def listing(self, listing: Listing, moment: Moment) -> None:  # noqa: ARG002, D102
        listing.rows = listing.rows[::-1]


class Endless(Fault):
    """Every page says that more follows, the last one too; after it come empty ones."""

    kind: Literal["endless"]

    def listing(self, listing: Listing, moment: Moment) -> None:  # noqa: ARG002, D102
        listing.endless = True


class Skew(Fault):
    """The server's clock is ``seconds`` ahead, or behind where negative: in ``Date`` and in everything it shows."""

    kind: Literal["skew"]
    seconds: int

    @property
    def skew(self) -> float:  # noqa: D102
        return self.seconds

    def shown(self, document: Document, moment: Moment) -> Document:  # noqa: ARG002, D102
        moved = {name: document[name] + self.seconds for name in _TIMES if document.get(name) is not None}
        return {**document, **moved}


class Status(Fault):
    """Jobs are shown with another status: ``names: {running: under_review}``, for example."""

    kind: Literal["status"]
    names: Annotated[Mapping[str, str], Field(min_length=1)]

    def shown(self, document: Document, moment: Moment) -> Document:  # noqa: ARG002, D102
        if document.get("object") != "fine_tuning.job":
            return document
        return {**document, "status": self.names.get(document["status"], document["status"])}


class Extra(Fault):
    """Everything that is shown has more fields than the API knows: those of ``add``."""

    kind: Literal["extra"]
    add: Mapping[str, Any] = {"vendor_cost": 1.5, "vendor": {"zone": None}}

    def shown(self, document: Document, moment: Moment) -> Document:  # noqa: ARG002, D102
        return {**self.add, **document}


class ForgetMetadata(Fault):
    """Jobs are shown without their metadata; with ``stored: true`` those created are never given any."""

    kind: Literal["forget_metadata"]
    stored: bool = False

    def heard(self, asked: Asked) -> Asked:  # noqa: D102
        if not self.stored or asked.body is None:
            return asked
        try:
            body = json.loads(asked.body)
        except ValueError:
            return asked  # the server's own to refuse
        return replace(asked, body=dump({**body, "metadata": {}}).encode()) if isinstance(body, dict) else asked

    def shown(self, document: Document, moment: Moment) -> Document:  # noqa: ARG002, D102
        return {**document, "metadata": {}} if "metadata" in document and not self.stored else document


class Unprocessed(Fault):
    """Files are never ``processed``: they stay ``uploaded``."""

    kind: Literal["unprocessed"]

    def shown(self, document: Document, moment: Moment) -> Document:  # noqa: ARG002, D102
        return {**document, "status": "uploaded"} if document.get("object") == "file" else document


class SlowTurn(Fault):
    """Pausing and resuming take ``seconds``: until then jobs are ``pausing`` or ``resuming``, and refuse the other."""

    kind: Literal["slow_turn"]
    seconds: Seconds

    def _turning(self, job_id: str, moment: Moment) -> str | None:
        turning, since = moment.memory.turned.get(job_id, ("", 0.0))
        return turning if moment.now - since < self.seconds else None

    def instead(self, asked: Asked, moment: Moment) -> Answer | None:  # noqa: D102
        if asked.turns is None or (turning := self._turning(asked.turns[0], moment)) is None:
            return None
        problem = Problem(400, f"The job is {turning}.", code="invalid_job_state", param="status")
        return Answer(400, {"content-type": "application/json"}, bytes(problem.response.body))

    def shown(self, document: Document, moment: Moment) -> Document:  # noqa: D102
        if document.get("object") != "fine_tuning.job" or document["finished_at"] is not None:
            return document
        return {**document, "status": self._turning(document["id"], moment) or document["status"]}


AnyFault = (
    Error | Drop | Slow | Truncate | Lag | Unfiltered | Pages | Shift | Duplicate | OldestFirst | Endless | Skew
    | Status | Extra | ForgetMetadata | Unprocessed | SlowTurn
)  # fmt: skip
