"""Signatures by the Standard Webhooks scheme."""

from __future__ import annotations

import pytest

from reconciler.api.webhooks import NotGenuine, headers, secret_of, sign, verify
from reconciler.errors import UsageError

KEY = b"0123456789abcdef01234567"
BODY = b'{"type": "fine_tuning.job.succeeded"}'
NOW = 1_700_000_000


def test_the_example_of_the_scheme_is_signed_as_it_says() -> None:
    key = secret_of({"RECONCILER_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})
    assert key is not None
    body = b'{"test": 2432232314}'
    signature = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_what_was_signed_is_genuine_among_other_signatures_too() -> None:
    sent = headers(KEY, "evt_1", NOW, BODY)
    sent["webhook-signature"] = f"v1,b3RoZXI= v2,x {sent['webhook-signature']}"
    assert verify(KEY, sent, BODY, NOW + 299) == ("evt_1", NOW)


@pytest.mark.parametrize(
    ("change", "body", "later", "why"),
    [
        ({}, BODY + b" ", 0, "not ours"),
        ({"webhook-id": "evt_2"}, BODY, 0, "not ours"),
        ({"webhook-timestamp": str(NOW + 1)}, BODY, 0, "not ours"),
        ({"webhook-signature": "v1,"}, BODY, 0, "not ours"),
        ({"webhook-signature": "é"}, BODY, 0, "not ours"),
        ({"webhook-signature": ""}, BODY, 0, "not ours"),
        ({"webhook-id": ""}, BODY, 0, "not signed"),
        ({"webhook-timestamp": "now"}, BODY, 0, "not signed"),
        ({"webhook-timestamp": "9" * 40}, BODY, 0, "not signed"),
        ({}, BODY, 301, "too old"),
        ({}, BODY, -301, "clocks differ"),
    ],
)
def test_anything_else_is_not(change: dict[str, str], body: bytes, later: int, why: str) -> None:
    with pytest.raises(NotGenuine, match=why):
        verify(KEY, {**headers(KEY, "evt_1", NOW, BODY), **change}, body, NOW + later)


def test_without_a_secret_there_is_no_key() -> None:
    assert secret_of({}) is None


@pytest.mark.parametrize("text", ["hush-hush", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!", "MfKQ9r8GKYqrTwjUPD8ILPZIo2Lw"])
def test_a_secret_that_is_none_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(UsageError, match="holds no secret") as caught:
        secret_of({"RECONCILER_WEBHOOK_SECRET": text})
    assert text == "whsec_" or text not in str(caught.value)
