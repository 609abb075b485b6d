"""A key taken out of whatever holds it, in each way that servers, libraries and shells write one. Pure."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from urllib.parse import quote, quote_plus, urlsplit

GONE = "[key]"

SHORTEST = 16
"""Characters of a key worth looking for in values. Shorter ones ("dummy", "reconciler") are words that names hold too,
and to take those out of answers would change what a job is called."""

_ESCAPES = re.compile(rb"\\(?:u00[2-7]|/)")
"""How JSON may write a character that a key can hold, other than as it is."""

_NAMED = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD)$")
_LEAST_SAID = 8


@lru_cache(maxsize=64)
def spellings(secret: str) -> tuple[str, ...]:
    """Return a key as it is, and as JSON, Python, a URL and base64 write it; the longest first."""
    if len(secret) < SHORTEST:
        return (secret,)
    raw = secret.encode(errors="surrogatepass")
    found = {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    for encoded in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        found |= {encoded, re.sub("%..", lambda match: match[0].lower(), encoded)}
    for before in range(3):  # base64 differs by where in a group of three the key begins
        whole = base64.b64encode(b"\0" * before + raw).decode()
        core = whole[(0, 2, 3)[before] : (before + len(raw)) * 4 // 3]
        found |= {core, core.translate({43: "-", 47: "_"})}
    return tuple(sorted(filter(None, found), key=len, reverse=True))


def secrets_of(env: Mapping[str, str]) -> Iterator[str]:
    """Yield the secrets of an environment: what its variables' names call a key, and the passwords of proxies."""
    for name, value in env.items():
        if _NAMED.search(name.upper()) and len(value) >= _LEAST_SAID:
            yield value
        elif name.upper().endswith("_PROXY") and "@" in value:
            try:
                yield urlsplit(value).password or ""
            except ValueError:
                yield value


def redact(text: str, *secrets: str | None) -> str:
    """Return the text without these keys, and without the start of a long one that was cut."""
    for secret in filter(None, secrets):
        for spelling in spellings(secret):
            text = text.replace(spelling, GONE)
        if len(secret) >= 2 * SHORTEST:
            text = _without_starts(text, secret)
    return text


def _without_starts(text: str, secret: str) -> str:
    """Take out what begins as the secret does, as far as it goes on so."""
    head = secret[:SHORTEST]
    at = text.find(head)
    while at >= 0:
        same = next((i for i, (a, b) in enumerate(zip(text[at:], secret, strict=False)) if a != b), len(secret))
        text = f"{text[:at]}{GONE}{text[at + same :]}"
        at = text.find(head, at + len(GONE))
    return text


def redact_body(body: bytes, secret: str | None) -> bytes:
    """Return the body of an answer without the key, whose values may then be shown and kept.

    JSON stays JSON, and without the key in it a body stays as it is, byte by byte.
    """
    if not secret or len(secret) < SHORTEST:
        return body
    if _ESCAPES.search(body):
        body = _unescaped(body, secret)
    for spelling in spellings(secret):
        body = body.replace(spelling.encode(), GONE.encode())
    return body


def _unescaped(body: bytes, secret: str) -> bytes:
    """Write JSON anew where it spells the key in escapes."""
    try:
        plain = json.dumps(json.loads(body))
    except (ValueError, RecursionError):
        return body
    return plain.encode() if redact(plain, secret) != plain else body


class Watch:
    """Looks for a key in what arrives piece by piece."""

    def __init__(self, secret: str | None) -> None:
        known = spellings(secret) if secret and len(secret) >= SHORTEST else ()
        self._known = [spelling.encode() for spelling in known]
        self._tail = b""
        self.found = False

    def feed(self, piece: bytes) -> None:
        """Look at the next piece; ``found`` stays true from the first sight on."""
        if self._known and not self.found:
            seen = self._tail + piece
            self.found = any(spelling in seen for spelling in self._known)
            self._tail = seen[1 - len(self._known[0]) :]
