"""Nothing that gives access gets into the log, wherever it stands; what is harmless stays."""

from __future__ import annotations

import json
import logging
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.heads import headers_text, hides
from reconciler.cli.logs import JsonLines, TextLines
from reconciler.cli.say import form_of
from reconciler.cli.secrets import SECRETS, Redactor

KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=20, max_size=40).map(lambda s: f"sk-{s}")
WORDS = st.text(st.characters(codec="ascii", exclude_characters="\x00"), max_size=20)


@given(KEYS, WORDS, WORDS, st.sampled_from(["x-echo", "authorization", "location", "x-request-id"]))
def test_a_key_never_gets_through(key: str, before: str, after: str, header: str) -> None:
    known, SECRETS._known = SECRETS._known, []
    try:
        SECRETS.add([key])
        head = headers_text(httpx.Headers([(header, f"Bearer {key}")]))
        for text in (head, f"http://host/v1?q={quote(key, safe='')}", f"{before} {key} {after}", f"//u:{key}@host"):
            record = logging.LogRecord("reconciler", logging.INFO, "", 0, "%s", (text,), None)
            record.request_id = record.hint = text
            assert key not in TextLines().format(record)
            line = json.loads(JsonLines().format(record))
            for value in (line["message"], line["hint"], line["request_id"]):
                assert key not in value
                assert quote(key, safe="") not in value
    finally:
        SECRETS._known = known


@pytest.mark.parametrize(
    "name",
    ["Authorization", "api-key", "X-Api-Key", "Cookie", "Set-Cookie", "Proxy-Authorization", "x-amz-security-token",
     "x-auth-token", "client-secret", "ocp-apim-subscription-key"],
)  # fmt: skip
def test_headers_that_give_access_are_hidden(name: str) -> None:
    assert hides(name)


@pytest.mark.parametrize(
    "name", ["x-ratelimit-remaining-tokens", "x-request-id", "x-keyboard", "author", "keep-alive", "idempotency-key"]
)
def test_headers_that_do_not_are_shown(name: str) -> None:
    assert not hides(name)


@pytest.mark.parametrize("name", ["key", "api_key", "apikey", "accessToken", "X-Amz-Signature", "code", "sig", "token"])
def test_parameters_that_give_access_are_hidden(name: str) -> None:
    assert Redactor().redact(f"http://h/v1?a=1&{name}=abcdef&b=2") == f"http://h/v1?a=1&{name}=[key]&b=2"


@pytest.mark.parametrize("name", ["error_code", "encoding", "author", "monkey", "tokens", "limit", "postcode"])
def test_parameters_that_do_not_are_shown(name: str) -> None:
    assert Redactor().redact(f"http://h/v1?{name}=abcdef") == f"http://h/v1?{name}=abcdef"


def test_the_last_format_on_a_command_line_counts() -> None:
    assert form_of(["plan"], "text") == "text"
    assert form_of(["--log-format", "json", "plan"], "text") == "json"
    assert form_of(["--log-format", "json", "plan", "--log-format=text"], "json") == "text"
    assert form_of(["plan", "--", "--log-format=json"], "text") == "text"
