from __future__ import annotations

import json
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import errors
from reconciler.api.answers import Reply, clean, fault, parse, retry_after
from reconciler.api.types import Job

KEY = "sk-very-secret-0123456789"
NOW = 1_700_000_000.0
HTML = b"<!DOCTYPE html><html><body>Bad gateway</body></html>"


def answer(status: int, body: object, **headers: str) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply("GET /fine_tuning/jobs", status, named, raw, KEY)


def api(message: str, code: str | None = None, param: str | None = None) -> dict[str, object]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (400, api("bad n_epochs", None, "n_epochs"), errors.InvalidRequest, "bad n_epochs"),
        (401, api("nope", "invalid_api_key"), errors.NotAuthenticated, "does not accept the key"),
        (400, api("nope", "invalid_api_key"), errors.NotAuthenticated, "does not accept the key"),
        (403, api("no"), errors.NotPermitted, "may not do that"),
        (403, api("no", "training_not_available"), errors.TrainingNotAvailable, "may not start fine-tuning"),
        (404, api("no job"), errors.NotFound, "no such object: no job"),
        (405, api("no"), errors.Unsupported, "does not offer"),
        (408, api("slow"), errors.ServerFault, "failed"),
        (409, api("busy"), errors.Conflict, "state that does not allow"),
        (413, b"too big", errors.InvalidRequest, "too big"),
        (418, b"", errors.InvalidRequest, "without saying why"),
        (422, {"detail": [{"loc": ["body", "seed"], "msg": "not an int"}]}, errors.InvalidRequest, "not an int"),
        (429, api("slow down", "rate_limit_exceeded"), errors.RateLimited, "fewer requests"),
        (429, api("enough", "daily_rate_limit_exceeded"), errors.DailyLimit, "day's limit"),
        (429, api("pay", "insufficient_quota"), errors.NotPermitted, "may not"),
        (500, api("oops"), errors.ServerFault, "oops"),
        (501, api("no"), errors.Unsupported, "does not offer"),
        (502, HTML, errors.ServerFault, "an HTML page"),
        (507, b"disk full", errors.ServerFault, "disk full"),
        (404, HTML, errors.NotThisApi, "not answered as a fine-tuning server"),
        (404, {"detail": "Not Found"}, errors.NotFound, "Not Found"),
        (400, {"error": "a plain word"}, errors.InvalidRequest, "a plain word"),
        (400, {"message": "elsewhere"}, errors.InvalidRequest, "elsewhere"),
        (400, {"error": {}}, errors.InvalidRequest, "without saying why"),
        (400, {"detail": []}, errors.InvalidRequest, "without saying why"),
        (400, [], errors.InvalidRequest, "without saying why"),
        (400, b"[" * 100_000, errors.InvalidRequest, r"\[\["),
        (500, b"\xff\xfe", errors.ServerFault, "failed"),
    ],
)
def test_each_refusal_becomes_its_exception(status: int, body: object, kind: type[errors.ApiError], words: str) -> None:
    error = fault(answer(status, body, x_request_id="req_1"), now=NOW)
    assert type(error) is kind
    assert error.status == status
    assert error.request_id == "req_1"
    with pytest.raises(kind, match=words):
        raise error


def test_code_and_param_are_kept() -> None:
    error = fault(answer(400, api("bad", "invalid_value", "method.dpo.beta")), now=NOW)
    assert (error.code, error.param) == ("invalid_value", "method.dpo.beta")
    assert str(error).endswith("(HTTP 400, code invalid_value, param method.dpo.beta)")


def test_a_pydantic_detail_names_its_place() -> None:
    body = {"detail": [{"loc": ["body", "seed"], "msg": "not an int", "type": "int_type"}]}
    assert fault(answer(422, body), now=NOW).param == "body.seed"


def test_a_redirect_is_not_followed_and_says_where_it_leads() -> None:
    error = fault(answer(307, b"", location="https://elsewhere.example/v1"), now=NOW)
    assert isinstance(error, errors.NotThisApi)
    assert "https://elsewhere.example/v1" in error.message


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, api("no"), "LAB_KEY"),
        (400, api("Incorrect API key provided"), "LAB_KEY"),
        (404, HTML, "/v1"),
        (403, api("x", "training_not_available"), "--server"),
        (429, api("x", "daily_rate_limit_exceeded"), "tomorrow"),
    ],
)
def test_a_hint_says_what_to_do(status: int, body: object, words: str) -> None:
    assert words in fault(answer(status, body), now=NOW, key_env="LAB_KEY").hint


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_a_key_that_the_server_echoes_is_not_shown(status: int) -> None:
    body = api(f"bad key {KEY[:5]}\u200b{KEY[5:]} and {KEY}", f"code {KEY}", KEY)
    error = fault(answer(status, body, x_request_id=f"req {KEY}"), now=NOW)
    assert KEY not in str(error) + error.hint
    assert "[key]" in str(error)


def test_an_echoed_key_is_not_shown_in_part_where_a_long_body_is_cut() -> None:
    for padding in range(270, 300):
        assert "sk-very" not in clean("x" * padding + KEY, KEY)


@given(st.text())
def test_cleaned_text_is_one_short_printable_line(text: str) -> None:
    line = clean(text, None)
    assert len(line) <= 300
    assert not any(c in line for c in "\x1b\n\r\x00\u202e\u2066")
    line.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\x1b[31mred\x1b[0m", "red"), ("a\r\nb\tc", "a b c"), ("\ud800x", "x"), ("\x1b]0;title\x07", "]0;title")],
)
def test_terminal_sequences_are_removed(text: str, shown: str) -> None:
    assert clean(text, None) == shown


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "9"}, 9.0),
        ({"retry-after": formatdate(NOW + 30, usegmt=True)}, 30.0),
        ({"retry-after": formatdate(NOW - 30, usegmt=True)}, 0.0),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 2.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "later"}, None),
        ({}, None),
    ],
)
def test_how_long_to_wait_is_read_in_every_form(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after(headers, NOW) == expected


@given(st.text())
def test_no_wait_that_a_server_names_is_negative_or_endless(text: str) -> None:
    seconds = retry_after({"retry-after": text}, NOW)
    assert seconds is None or 0 <= seconds < float("inf")


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b'{"id": "ftjob-1", "crea', errors.NoAnswer, "cut short"),
        (b"", errors.NoAnswer, "cut short"),
        (b"\x80\x81", errors.NoAnswer, "not JSON"),
        (b'{"a":' * 10_000, errors.NoAnswer, "cut short or not JSON"),
        (b"[]", errors.NotThisApi, "the answer"),
        (b'{"id": "ftjob-1", "object": "x"}', errors.NotThisApi, "created_at"),
        (HTML, errors.NotThisApi, "HTML page"),
    ],
)
def test_an_unreadable_answer_says_so(body: bytes, kind: type[errors.ApiError], words: str) -> None:
    with pytest.raises(kind, match=words):
        parse(answer(200, body), Job)


def test_an_unreadable_answer_is_not_quoted() -> None:
    with pytest.raises(errors.NotThisApi) as caught:
        parse(answer(200, {"id": KEY, "created_at": KEY}), Job)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("date", ["", "yesterday", "Tue, 99 Foo 2099 99:99:99 GMT"])
def test_an_unreadable_date_is_no_time(date: str) -> None:
    assert answer(200, {}, date=date).time is None


def test_the_date_header_is_the_servers_clock() -> None:
    assert answer(200, {}, date=formatdate(NOW, usegmt=True)).time == NOW


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (rb"half \ud800", "half \ufffd"),
        (rb"half \ude00 a pair \ud83d\ude00", "half \ufffd a pair \U0001f600"),
        (b"latin \xe9", "latin \ufffd"),
        (b"a\nb\x1b", "a\nb\x1b"),
        (rb"\u0000", "\x00"),
    ],
)
def test_a_mangled_text_makes_no_answer_unreadable(written: bytes, read: str) -> None:
    body = b'{"id": "a", "created_at": 1, "model": "m", "status": "%s", "trained_tokens": 7}' % written
    job = parse(answer(200, body), Job)
    assert job.status == read
    assert job.trained_tokens == 7
    with pytest.raises(errors.NoAnswer):
        parse(answer(200, body[:-1]), Job)
