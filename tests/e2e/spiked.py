"""A server that puts a text of the test's choice wherever its answers hold words of people or of servers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice, repeat
from typing import Any, Literal

from program import OWNER
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Way = Literal["plain", "values", "instead", "refuse", "html", "broken", "odd", "plain text", "moved"]
WAYS: tuple[Way, ...] = ("values", "refuse", "html", "broken", "odd", "plain text", "moved")
_WORDS = {"message", "code", "param", "error", "detail", "filename", "name", "project", "entity"} | {
    "fine_tuned_model", "fine_tuned_model_checkpoint",
}  # fmt: skip
"""Fields that hold words. What the reconciler goes by (ids, statuses, its own metadata) stays as it is."""
_EVEN = _WORDS - {"filename"} | {"level", "type", "model", "organization_id", "status"}
"""Fields that may hold anything and leave the rest readable: ``instead`` puts its texts in their place, one by one."""


@dataclass
class Spiked:
    """A layer over an application. ``way`` is how it answers now, ``text`` what it answers with.

    What a client tries again is answered once in ``way`` and then as it should be: ``once`` says that this is to come.
    """

    app: ASGIApp
    text: str = ""
    way: Way = "plain"
    once: bool = True
    owner: str = OWNER
    texts: Iterator[str] = field(default_factory=lambda: repeat(""))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        spent = self.way == "broken" and not self.once
        if scope["type"] != "http" or self.way == "plain" or spent:
            await self.app(scope, receive, send)
        elif self.way == "values":
            await self.app(scope, receive, _Rewriting(send, self._spiked))
        elif self.way == "instead":
            await self.app(scope, receive, _Rewriting(send, self._replaced))
        else:
            self.once = False
            status, kind, body = self._answer()
            said = _header(self.text)
            head = [(b"content-type", kind), (b"x-request-id", said)]
            head += [(b"location", b"https://evil.example/" + said)] if self.way == "moved" else []
            await send({"type": "http.response.start", "status": status, "headers": head})
            await send({"type": "http.response.body", "body": body})

    def _answer(self) -> tuple[int, bytes, bytes]:
        text = self.text
        match self.way:
            case "refuse":
                words = {"message": f"You sent {text}.", "code": text, "param": text, "type": text}
                return 401, b"application/json", json.dumps({"error": words}).encode()
            case "moved":
                return 307, b"application/json", b"{}"
            case "html":
                return 404, b"text/html", f"<html><body>{text}</body></html>".encode(errors="replace")
            case "broken":
                return 200, b"application/json", b'{"object": "list", "data": [{"id": ' + json.dumps(text).encode()
            case "odd":
                return 200, b"application/json", json.dumps({text: text, "data": text}).encode()
            case _:
                return 400, b"text/plain", text.encode(errors="replace")

    def _spiked(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            ours = {k: self._spiked(v, "" if k.startswith("reconciler.") else k) for k, v in value.items()}
            return {k: self._label(v) if k == "metadata" else v for k, v in ours.items()}
        if isinstance(value, list):
            return [self._spiked(each, key) for each in value]
        return f"{value}{self.text}" if key in _WORDS and isinstance(value, str) else value

    def _replaced(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            jobs = value.get("data") or [{}] if value.get("object") == "list" else [{}]
            more = self._strangers(jobs[0]) if jobs[0].get("object") == "fine_tuning.job" else []
            rest = {k: v if k == "metadata" else self._replaced(v, k) for k, v in value.items()}
            if more:
                return rest | {"data": [*more, *rest["data"]]}
            known = value.get("object") in ("fine_tuning.job", "file", "list") or "id" not in value
            return rest if known else rest | {"id": f"{next(self.texts)}{value['id']}"}
        if isinstance(value, list):
            return [self._replaced(each, key) for each in value]
        return next(self.texts) if key in _EVEN and isinstance(value, str) else value

    def _strangers(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        """Make jobs that are not there, each with a text in every place where its maker or its server may put one."""
        readable = {"reconciler.name": "stray", "reconciler.revision": "0123456789abcdef.1"}
        ours = {"reconciler.owner": self.owner}
        found = []
        for number, text in enumerate(islice(self.texts, 13)):
            labels = (
                {text: text},
                {"reconciler.owner": text, **readable},
                {**ours, **readable, "note": text},
                {**ours, "reconciler.name": text, "reconciler.revision": text},
            )[number % 4]
            said = {"id": f"{text}#{number}", "training_file": text, "user_provided_suffix": text}
            found.append({**job, **said, "metadata": labels, "error": {"code": text, "message": text, "param": text}})
        return found

    def _label(self, labels: Any) -> Any:
        """Add a label that a spec may carry: one line."""
        note = " ".join("".join(c for c in self.text if c.isprintable()).split())[:512]
        return {**labels, "note": note} if isinstance(labels, dict) else labels


@dataclass
class _Rewriting:
    """Sends an answer once it is whole, rewritten if it is JSON."""

    send: Send
    change: Callable[[Any], Any]
    start: Message | None = None
    body: bytes = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
            return
        self.body += message.get("body", b"")
        if message.get("more_body") or self.start is None:
            return
        if any(
            value.startswith(b"application/json") for name, value in self.start["headers"] if name == b"content-type"
        ):
            self.body = json.dumps(self.change(json.loads(self.body))).encode()
        kept = [(name, value) for name, value in self.start["headers"] if name != b"content-length"]
        await self.send({**self.start, "headers": [*kept, (b"content-length", str(len(self.body)).encode())]})
        await self.send({"type": "http.response.body", "body": self.body})


def _header(text: str) -> bytes:
    return "".join(c for c in text if " " <= c <= "~").encode()[:200]
