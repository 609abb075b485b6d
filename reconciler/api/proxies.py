"""What of the environment keeps an HTTP client from being made: proxies, and certificates of authorities."""

from __future__ import annotations

import httpx

from reconciler.errors import UsageError

UNUSABLE = (ValueError, ImportError, OSError, httpx.InvalidURL)
"""What httpx raises where it makes a client and cannot."""


def unusable(error: Exception) -> UsageError:
    """Translate one of ``UNUSABLE``.

    A proxy's address is not quoted: it may hold a password.
    """
    if isinstance(error, OSError):
        return UsageError(
            f"The certificates of authorities cannot be read: {error.strerror or error}.",
            hint="Look at SSL_CERT_FILE and SSL_CERT_DIR in the environment.",
        )
    if isinstance(error, ImportError):
        return UsageError(
            "A SOCKS proxy is set, and support for it is not installed.", hint="pip install 'httpx[socks]'"
        )
    return UsageError(
        "The address of a proxy in the environment is no URL of a proxy.",
        hint="Look at HTTP_PROXY, HTTPS_PROXY and ALL_PROXY; such an address begins with http:// or https://.",
    )
