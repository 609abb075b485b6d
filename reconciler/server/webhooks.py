"""Tells an endpoint how jobs end: ``fine_tuning.job.succeeded``, ``.failed`` and ``.cancelled``, as OpenAI does.

The database itself notes every end, in the transaction that brings it about, so no crash loses one. A message is sent
until it is taken, under one id, ever less often; after three days it is given up.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from reconciler import __version__
from reconciler.api.loopback import is_loopback
from reconciler.api.proxies import UNUSABLE, unusable
from reconciler.api.webhooks import SECRET_VARIABLE, headers, secret_of
from reconciler.errors import StoreError, UsageError
from reconciler.server.store import Store

log = logging.getLogger(__name__)

KEPT = 3 * 86_400.0
"""Seconds after which what was not taken is given up."""
_LOOKS_EVERY = 0.25
_PATIENCE = 10.0
_CLAIMED = 60.0
_FIRST, _LONGEST = 2.0, 3600.0
_AT_ONCE = 10
_AFTER_A_FAULT = 1.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where messages go, and the key that signs them."""

    url: str
    key: bytes = field(repr=False)

    @property
    def loopback(self) -> bool:
        """Whether it is on this machine, where no proxy is asked."""
        return is_loopback(urlsplit(self.url).netloc)


def endpoint(url: str, environment: Mapping[str, str]) -> Endpoint:
    """Return the endpoint at a URL, with the environment's secret.

    Raises:
        UsageError: it is no URL, or there is no secret.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError("--webhook is no URL.", hint="It should look like https://example.com/webhook.")
    key = secret_of(environment)
    if key is None:
        raise UsageError(
            f"Webhooks are signed, and {SECRET_VARIABLE} is not set.",
            hint='Make a secret for server and receiver: echo "whsec_$(openssl rand -base64 24)"',
        )
    return Endpoint(url, key)


def connection(target: Endpoint, transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """Make the client that sends to an endpoint; ``transport`` replaces the network.

    Raises:
        UsageError: the environment names a proxy or certificates that cannot be used.
    """
    try:
        return httpx.AsyncClient(
            timeout=_PATIENCE, transport=transport, trust_env=not target.loopback,
            headers={"User-Agent": f"finetune-reconciler/{__version__}", "Content-Type": "application/json"},
        )  # fmt: skip
    except UNUSABLE as error:
        raise unusable(error) from None


@dataclass(frozen=True, slots=True)
class _Message:
    seq: int
    id: str
    attempts: int
    body: bytes


def sweep(store: Store, now: float) -> None:
    """Forget what was not taken for too long, or was never to be sent."""
    with store.write(durable=False) as db:
        db.execute("DELETE FROM webhooks WHERE created_at < ?", (now - KEPT,))


class Deliverer:
    """Sends what a store has noted. ``clock`` gives Unix seconds."""

    def __init__(self, store: Store, target: Endpoint, *, clock: Callable[[], float] = time.time) -> None:
        self._store, self._target, self._clock = store, target, clock

    async def run(self, client: httpx.AsyncClient) -> None:
        """Go on until cancelled."""
        while True:
            try:
                await self.send_due(client)
            except StoreError as error:
                log.warning("Webhooks wait for the database: %s", error)
            except Exception:
                log.exception("Webhooks go on after a fault.")
                await asyncio.sleep(_AFTER_A_FAULT)
            await asyncio.sleep(_LOOKS_EVERY)

    async def send_due(self, client: httpx.AsyncClient) -> None:
        """Send everything that is due, once."""
        messages = await asyncio.to_thread(self._claim)
        await asyncio.gather(*(self._send(client, message) for message in messages))

    def _claim(self) -> list[_Message]:
        """Take what is due for a while: another process on this database must not send it too."""
        now = self._clock()
        with self._store.read() as db:
            due = db.execute(
                "SELECT seq, id, attempts, type, created_at, job FROM webhooks WHERE due_at <= ? ORDER BY seq LIMIT ?",
                (now, _AT_ONCE),
            ).fetchall()
        claimed = []
        for seq, message_id, attempts, kind, created_at, job in due:
            with self._store.write(durable=False) as db:
                mine = db.execute(
                    "UPDATE webhooks SET attempts = attempts + 1, due_at = ? WHERE seq = ? AND attempts = ?",
                    (now + _CLAIMED, seq, attempts),
                ).rowcount
            if mine:
                event = {
                    "id": message_id,
                    "object": "event",
                    "created_at": created_at,
                    "type": kind,
                    "data": {"id": job},
                }
                claimed.append(_Message(seq, message_id, attempts + 1, json.dumps(event).encode()))
        return claimed

    async def _send(self, client: httpx.AsyncClient, message: _Message) -> None:
        signed = headers(self._target.key, message.id, int(self._clock()), message.body)
        try:
            answer = await client.post(self._target.url, content=message.body, headers=signed)
            taken, why = answer.is_success or answer.status_code == httpx.codes.GONE, f"HTTP {answer.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            taken, why = False, type(error).__name__
        if not taken:
            log.warning("Webhook %s was not taken (%s), attempt %d.", message.id, why, message.attempts)
        await asyncio.to_thread(self._settle, message, taken)

    def _settle(self, message: _Message, taken: bool) -> None:
        pause = min(_LONGEST, _FIRST * 4.0 ** min(message.attempts - 1, 10))
        with self._store.write(durable=False) as db:
            if taken:
                db.execute("DELETE FROM webhooks WHERE seq = ?", (message.seq,))
            else:
                db.execute("UPDATE webhooks SET due_at = ? WHERE seq = ?", (self._clock() + pause, message.seq))
