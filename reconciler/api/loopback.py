"""The addresses that only this machine reaches."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Whether an address or a ``Host`` header, with its port or without, names this machine to itself."""
    try:
        bare = host if host.count(":") > 1 and "[" not in host else urlsplit(f"//{host}").hostname or ""
        return bare == "localhost" or ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False
