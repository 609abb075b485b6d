from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.api.secret import Watch, redact, redact_body, secrets_of

KEY = 'sk-very/secret+"0123456789&='
KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=16, max_size=60)


def _lower(key: str) -> str:
    return re.sub("%..", lambda escape: escape[0].lower(), quote(key))


@pytest.mark.parametrize(
    "written",
    [str, repr, json.dumps, quote, quote_plus, lambda key: quote(key, safe=""), _lower],
)
@given(key=KEYS)
@settings(database=None, deadline=None, max_examples=30)
def test_a_key_is_found_however_it_is_written(written: Callable[[str], str], key: str) -> None:
    assert written(key).strip("'\"") not in redact(f"before {written(key)} after", key)


@given(key=KEYS, before=st.binary(max_size=5))
@settings(database=None, deadline=None, max_examples=50)
def test_a_key_inside_of_base64_cannot_be_read_back(key: str, before: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        shown = redact(encode(before + key.encode() + b"after").decode(), key)
        assert "[key]" in shown


@pytest.mark.parametrize("length", [16, 40, 80, 163, 164])
def test_the_start_of_a_long_key_that_was_cut_is_found(length: int) -> None:
    key = "sk-proj-" + "Ab3-" * 39
    assert redact(f"no model {key[:length]!r}. {key[:length]}…", key) == "no model '[key]'. [key]…"
    assert redact(key[:15], key) == key[:15]


def test_json_stays_json_and_what_holds_no_key_stays_as_it_is() -> None:
    body = json.dumps({"a": [KEY, {KEY: f"x{KEY}x"}]}).encode()
    assert json.loads(redact_body(body, KEY)) == {"a": ["[key]", {"[key]": "x[key]x"}]}
    escaped = '{"a": "' + "".join(f"\\u{ord(c):04x}" for c in KEY) + '"}'
    assert json.loads(redact_body(escaped.encode(), KEY)) == {"a": "[key]"}
    other = rb'{"a":  "\u0041\/", "b": [1.50]}'
    assert redact_body(other, KEY) == other
    assert redact_body(b"\\u0041 no json", KEY) == b"\\u0041 no json"


def test_a_word_that_serves_as_a_key_changes_no_answer() -> None:
    body = b'{"metadata": {"reconciler.owner": "us"}}'
    assert redact_body(body, "reconciler") == body
    assert redact_body(body, None) == body
    assert redact("wrong key reconciler", "reconciler") == "wrong key [key]"


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_a_key_is_seen_across_the_pieces_of_a_download(size: int) -> None:
    content = b"x" * 500 + json.dumps(KEY).encode() + b"y" * 500
    watch, other = Watch(KEY), Watch(KEY + "z")
    for start in range(0, len(content), size):
        watch.feed(content[start : start + size])
        other.feed(content[start : start + size])
    assert watch.found
    assert not other.found


def test_the_environment_tells_what_is_secret() -> None:
    env = {
        "OPENAI_API_KEY": "sk-0123456789",
        "MY_TOKEN": "t" * 20,
        "SHORT_KEY": "a",
        "HOME": "/home/somebody",
        "https_proxy": "http://user:pass@proxy:1",
        "HTTP_PROXY": "http://proxy:1",
    }
    assert sorted(secrets_of(env)) == ["pass", "sk-0123456789", "t" * 20]
