"""The webhooks of the embedded server, as OpenAI's own client reads them."""

from __future__ import annotations

from pathlib import Path

import httpx
import openai
import pytest
from openai import InvalidWebhookSignatureError

from reconciler.api.webhooks import secret_of
from reconciler.server.store import Store
from reconciler.server.webhooks import Deliverer, Endpoint

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSX"


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
async def test_openai_unwraps_what_is_sent(tmp_path: Path, status: str) -> None:
    store = Store(tmp_path)
    with store.write() as db:
        db.execute("INSERT INTO jobs (id, status, document) VALUES ('ftjob-1', 'running', '{}')")
        db.execute("UPDATE jobs SET status = ?", (status,))
    key = secret_of({"RECONCILER_WEBHOOK_SECRET": SECRET})
    assert key is not None
    sent: list[httpx.Request] = []

    def take(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200)

    async with httpx.AsyncClient(transport=httpx.MockTransport(take)) as http:
        await Deliverer(store, Endpoint("https://example.com/webhook", key)).send_due(http)
    store.close()
    client = openai.OpenAI(api_key="x", webhook_secret=SECRET)
    event = client.webhooks.unwrap(sent[0].content.decode(), sent[0].headers)
    seen = event.to_dict()
    assert (seen["type"], seen["data"]) == (f"fine_tuning.job.{status}", {"id": "ftjob-1"})
    with pytest.raises(InvalidWebhookSignatureError):
        client.webhooks.unwrap(sent[0].content.decode(), sent[0].headers, secret=OTHER)
