from __future__ import annotations

import ssl

from reconciler.api.transport import trust


def test_plain_http_reads_no_authorities_and_trusts_nobody() -> None:
    context = trust("http://127.0.0.1/v1")
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.get_ca_certs() == []


def test_https_is_verified_with_the_usual_authorities() -> None:
    assert trust("https://api.openai.com/v1") is True
