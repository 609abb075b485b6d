"""Secrets taken out of text: what is known to be one, in every usual spelling, and what looks like one."""

from __future__ import annotations

import re
from collections.abc import Iterable

from reconciler.api.secret import GONE, redact

_USER_INFO = re.compile(r"(?<=://)[^/\s?#]*@")
_SCHEME = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]+", re.IGNORECASE)
_QUERY = re.compile(
    r"([?&;](?:code|(?:[^=&;?\s]*[-_.\[%])?(?:key|token|secret|sig|signature|password|passwd|auth|credentials?)\]?"
    r"|[^=&;?\s]*(?:api|access|secret|private|auth|refresh|session|client)[-_]?(?:key(?:-?id)?|token|secret))=)"
    r"[^&\s#\"']+",
    re.IGNORECASE,
)


class Redactor:
    """Takes secrets out of text."""

    def __init__(self) -> None:
        self._known: list[str] = []

    def add(self, secrets: Iterable[str]) -> None:
        """Know more secrets."""
        self._known = sorted({*self._known, *filter(None, secrets)}, key=len, reverse=True)

    def redact(self, text: str) -> str:
        """Return the text without them."""
        text = redact(text, *self._known)
        text = _USER_INFO.sub(f"{GONE}@", text)
        text = _SCHEME.sub(rf"\1 {GONE}", text)
        return _QUERY.sub(rf"\1{GONE}", text)


SECRETS = Redactor()
"""What this process knows to be secret; what is printed of faults and logs passes through it."""
