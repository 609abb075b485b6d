"""How others hear of a watch: its health and its numbers. And how it hears of the ends of jobs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from reconciler.api.answers import Reply
from reconciler.api.client import Client
from reconciler.api.retry import Backoff
from reconciler.api.server import Server
from reconciler.api.webhooks import secret_of
from reconciler.cli.secrets import SECRETS
from reconciler.cli.session import Session
from reconciler.errors import ApiError
from reconciler.report.escape import clean
from reconciler.watch.engine import Watch

if TYPE_CHECKING:
    from reconciler.watch.ear import Ear
    from reconciler.watch.metrics import Metrics

_LONGEST_LOOK = 1800.0
"""Seconds after which a look that has not ended is taken to hang: a large upload takes its time."""


class WatchClient(Client):
    """Tells each answer's status to ``count``: 0 for none. It gives up early: the next look comes soon."""

    count: Callable[[str, int], None] | None = None

    def __init__(self, server: Server) -> None:
        super().__init__(server, backoff=Backoff(attempts=3, total=60.0))

    async def _send(self, method: str, path: str, **more: Any) -> Reply:  # noqa: ANN401 - as it is
        status = 0
        try:
            reply = await super()._send(method, path, **more)
            status = reply.status
        except ApiError as error:
            status = error.status
            raise
        finally:
            if self.count is not None:
                self.count(method, status)
        return reply


def metrics_of(session: Session) -> Metrics | None:
    """Return what counts for /metrics, where that is installed."""
    try:
        from reconciler.watch.metrics import Metrics  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    metrics = Metrics(session.owner, session.server)
    if isinstance(session.client, WatchClient):
        session.client.count = metrics.request
    return metrics


def ear_of(watch: Watch, interval: float, metrics: Metrics | None) -> Ear:
    """Make what takes webhooks, and answers those who ask how it is."""
    from reconciler.watch.ear import Ear  # noqa: PLC0415 - a web server, for those who want one

    pulse, started = watch.pulse, time.monotonic()

    def alive() -> tuple[bool, Mapping[str, object]]:
        since = time.monotonic() - (started if pulse.looked_at is None else pulse.looked_at)
        return since < interval + _LONGEST_LOOK, {"seconds_since_last_look": round(since, 1)}

    def ready() -> tuple[bool, Mapping[str, object]]:
        return pulse.seen_at is not None and not pulse.failed, {"error": SECRETS.redact(clean(pulse.failed))}

    text = metrics.text if metrics else None
    return Ear(secret_of(os.environ), watch.ended, alive=alive, ready=ready, metrics=text)
