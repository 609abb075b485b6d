from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from reconciler.api.server import Server
from reconciler.api.transport import Transport, trust
from reconciler.errors import UsageError


def test_plain_http_reads_no_authorities_and_trusts_nobody() -> None:
    context = trust("http://127.0.0.1/v1")
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.get_ca_certs() == []


def test_https_is_verified_with_the_usual_authorities() -> None:
    assert trust("https://api.openai.com/v1") is True


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("HTTPS_PROXY", "ftp://user:password@127.0.0.1", "a proxy in the environment"),
        ("HTTPS_PROXY", "http://user:password@127.0.0.1:port", "a proxy in the environment"),
        ("SSL_CERT_FILE", str(Path(__file__).parent / "none.pem"), "No such file"),
        ("SSL_CERT_FILE", __file__, "authorities cannot be read"),
    ],
)
def test_what_the_environment_has_wrong_is_said_without_its_password(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=words) as caught:
        Transport(Server("x", "https://127.0.0.1/v1"), None, lambda: 0.0)
    assert variable in caught.value.hint
    assert "password" not in str(caught.value) + caught.value.hint
