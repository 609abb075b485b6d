"""Webhooks as the Standard Webhooks scheme signs them (https://www.standardwebhooks.com). Pure.

What is signed is the message's id, the time it is sent (Unix seconds) and its body, joined by dots; the signature is an
HMAC-SHA256 in base64, after ``v1,``. A header may hold several, with spaces between them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

from reconciler.errors import UsageError

SECRET_VARIABLE = "RECONCILER_WEBHOOK_SECRET"  # noqa: S105 - a variable's name
TOLERANCE = 300.0
"""Seconds by which the clocks of sender and receiver may differ, the way included."""
ENDED = ("succeeded", "failed", "cancelled")
"""How a job ends; each is an event: ``fine_tuning.job.succeeded``."""
ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
_PREFIX = "whsec_"
_LEAST_BYTES = 16


class NotGenuine(Exception):
    """Who sent this does not know the secret, or it is old; the message says why."""


def secret_of(environment: Mapping[str, str]) -> bytes | None:
    """Return the key from the environment; None where none is set.

    Raises:
        UsageError: what is set is no such secret. It is not repeated.
    """
    text = environment.get(SECRET_VARIABLE, "")
    if not text:
        return None
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(_PREFIX) or len(key) < _LEAST_BYTES:
        raise UsageError(
            f"{SECRET_VARIABLE} holds no secret of a webhook: whsec_ and at least {_LEAST_BYTES} bytes in base64.",
            hint='Make one: echo "whsec_$(openssl rand -base64 24)"',
        )
    return key


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the signature of a message that is sent at a time."""
    signed = b".".join((message_id.encode(), str(timestamp).encode(), body))
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


def headers(key: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers that a message is sent with."""
    return {ID: message_id, TIMESTAMP: str(timestamp), SIGNATURE: sign(key, message_id, timestamp, body)}


def verify(key: bytes, sent: Mapping[str, str], body: bytes, now: float) -> tuple[str, int]:
    """Return id and time of a genuine message; ``sent`` holds its headers by lower-case name.

    Raises:
        NotGenuine: it is unsigned, signed with another secret, changed on the way, or too old.
    """
    message_id, time, given = (sent.get(name, "") for name in (ID, TIMESTAMP, SIGNATURE))
    if not (message_id and time.isascii() and time.isdigit() and len(time) < 16):
        raise NotGenuine("it is not signed")
    expected = sign(key, message_id, int(time), body).encode()
    if not any(hmac.compare_digest(expected, one.encode()) for one in given.split(" ")):
        raise NotGenuine("its signature is not ours")
    if abs(now - int(time)) > TOLERANCE:
        raise NotGenuine("it is too old, or the clocks differ")
    return message_id, int(time)
