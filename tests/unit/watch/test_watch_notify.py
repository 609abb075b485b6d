"""News for people who do not look: each thing once, and what comes together in one message."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from reconciler.errors import UsageError
from reconciler.watch.notify import Notifier, apprise, kind_of


class Sent:
    """What was sent, by a sender that takes all or nothing; time passes at once."""

    def __init__(self, *, taken: bool = True, **more: Any) -> None:
        self.messages: list[tuple[str, str]] = []
        self.pauses: list[float] = []
        self.taken = taken
        self.notifier = Notifier(self._send, "acme/models", sleep=self._sleep, **more)

    async def _send(self, title: str, text: str) -> bool:
        self.messages.append((title, text))
        return self.taken

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def hear(self, message: str, **fields: str) -> None:
        self.notifier.hear(message, "info", fields)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"event": "job", "outcome": "succeeded"}, "succeeded"),
        ({"event": "job", "outcome": "running"}, ""),
        ({"event": "blocked", "spec": "a"}, "blocked"),
        ({"event": "approval"}, "approval"),
        ({"event": "create", "outcome": "failed"}, ""),
        ({"event": "upload"}, ""),
        ({}, ""),
    ],
)
def test_only_news_is_news(fields: Mapping[str, str], kind: str) -> None:
    assert kind_of(fields) == kind


async def test_what_comes_together_is_one_message() -> None:
    sent = Sent()
    sent.hear("a: succeeded", event="job", outcome="succeeded")
    sent.hear("uploading", event="upload")
    sent.hear("b is blocked", event="blocked")
    await sent.notifier.flush()
    await sent.notifier.flush()
    assert sent.messages == [("acme/models", "a: succeeded\nb is blocked")]


async def test_a_digest_waits_for_its_time() -> None:
    sent = Sent(digest=3600)
    sent.hear("a: succeeded", event="job", outcome="succeeded")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await sent.notifier.run()
    assert len(sent.messages) == 1
    assert sent.pauses == [3600]


async def test_only_the_kinds_that_are_wanted_are_sent() -> None:
    sent = Sent(kinds=("failed",))
    for outcome in ("succeeded", "failed"):
        sent.hear(outcome, event="job", outcome=outcome)
    await sent.notifier.flush()
    assert sent.messages == [("acme/models", "failed")]


async def test_a_template_says_it_in_other_words() -> None:
    sent = Sent(template="[$kind] $spec $unknown")
    sent.hear("a: succeeded", event="job", outcome="succeeded", spec="a")
    await sent.notifier.flush()
    assert sent.messages == [("acme/models", "[succeeded] a $unknown")]


async def test_what_is_not_taken_is_sent_again_and_given_up() -> None:
    sent = Sent(taken=False)
    sent.hear("x", event="drift")
    await sent.notifier.flush()
    assert len(sent.messages) == 4
    assert sent.pauses == [2, 8, 32]


async def test_a_flood_is_counted() -> None:
    sent = Sent()
    for number in range(120):
        sent.hear(f"{number}", event="drift")
    await sent.notifier.flush()
    assert sent.messages[0][1].splitlines()[-1] == "... and 70 more"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # what Apprise imports
def test_an_address_that_is_none_is_refused_without_repeating_it() -> None:
    with pytest.raises(UsageError, match="Address 2") as caught:
        apprise("json://localhost nonsense-with-a-secret")
    assert "secret" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_apprise_sends_it() -> None:
    got: list[Any] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert await apprise(f"json://127.0.0.1:{server.server_address[1]}")("title", "text")
        server.shutdown()
    assert (got[0]["title"], got[0]["message"]) == ("title", "text")
