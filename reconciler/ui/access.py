"""Who may look and act: checks of each request before any page or data is given out.

A page of another site may make a browser send requests here. So a changing request must come from our own page: the
browser says so (``Sec-Fetch-Site``, ``Origin``), and it carries a header that no other site can add. On the loopback,
where there may be no token, the ``Host`` must be the loopback's own, or another site's name could be pointed at it.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request

from reconciler.api.loopback import is_loopback

HEADER = "x-reconciler-ui"
"""A changing request carries it, with any value."""


@dataclass(frozen=True, slots=True)
class Access:
    """The rules of one start. ``token`` None lets everybody in, which is for the loopback only.

    What a browser keeps after a login is drawn anew at every start, so the token itself is in no cookie.
    """

    token: str | None = field(default=None, repr=False)
    loopback: bool = True
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    def admit(self, request: Request) -> None:
        """Let a request pass, as far as what it asks for is public.

        Raises:
            HTTPException: its host is not ours, or it changes something and another site may have sent it.
        """
        if self.loopback and not is_loopback(request.headers.get("host", "")):
            raise HTTPException(
                421, "This address is not this machine's own: use http://127.0.0.1 or http://localhost."
            )
        if request.method not in ("GET", "HEAD") and not _ours(request):
            raise HTTPException(403, "Only this server's own pages may ask for changes.")

    def check(self, request: Request) -> None:
        """Let a request see data.

        Raises:
            HTTPException: nobody has logged in with the token.
        """
        given = request.cookies.get(self.cookie(request), "")
        if self.token is not None and not hmac.compare_digest(given.encode(), self.session.encode()):
            raise HTTPException(401, "Log in with the token.")

    def is_token(self, given: str) -> bool:
        """Whether this is the token."""
        return self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())

    def cookie(self, request: Request) -> str:
        """Name the cookie: browsers keep those of all ports of a host together."""
        _, port = request.scope.get("server") or ("", 0)
        return f"reconciler_{port or 0}"


def _ours(request: Request) -> bool:
    headers = request.headers
    if HEADER not in headers or headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")
