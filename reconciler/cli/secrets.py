"""Secrets taken out of text: what is known to be one, in every usual spelling, and what looks like one."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

GONE = "[key]"

_USER_INFO = re.compile(r"(?<=://)[^/\s?#]*@")
_SCHEME = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]+", re.IGNORECASE)
_QUERY = re.compile(
    r"([?&;][^=&\s]*(?:key|token|secret|sig|signature|password|auth|credential|code)[^=&\s]*=)[^&\s#\"']+",
    re.IGNORECASE,
)


class Redactor:
    """Takes secrets out of text."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._spellings: list[str] = []

    def add(self, secrets: Iterable[str]) -> None:
        """Know more secrets."""
        fresh = {secret for secret in secrets if secret} - self._known
        if fresh:
            self._known |= fresh
            found = {spelling for secret in self._known for spelling in _spellings(secret) if spelling}
            self._spellings = sorted(found, key=len, reverse=True)

    def redact(self, text: str) -> str:
        """Return the text without them."""
        for spelling in self._spellings:
            text = text.replace(spelling, GONE)
        text = _USER_INFO.sub(f"{GONE}@", text)
        text = _SCHEME.sub(rf"\1 {GONE}", text)
        return _QUERY.sub(rf"\1{GONE}", text)


SECRETS = Redactor()
"""What this process knows to be secret; what is printed of faults and logs passes through it."""


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    for escaped in (json.dumps(secret), json.dumps(secret, ensure_ascii=False), repr(secret)):
        yield escaped[1:-1]
    raw = secret.encode(errors="surrogatepass")
    for encoded in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        yield encoded
        yield re.sub("%..", lambda match: match[0].lower(), encoded)
    for before in range(3):  # where base64 begins in the middle of a group of three, as after "user:"
        for code in (base64.b64encode, base64.urlsafe_b64encode):
            end = len(raw) + before
            core = code(b"\0" * before + raw)[(0, 2, 3)[before] : end * 8 // 6].decode()
            if len(core) >= 4:
                yield core
