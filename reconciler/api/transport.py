"""One pool of connections to one server: a request goes out, a whole answer or one of our errors comes back.

Redirects are never followed, so the key reaches no other host. Proxies and certificate authorities come from the
usual environment variables.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterable, Callable, Mapping
from typing import Any, cast

import httpx

from reconciler import __version__
from reconciler.api.answers import Reply, clean, fault
from reconciler.api.heads import log_answer, log_failure, log_request
from reconciler.api.proxies import UNUSABLE, unusable
from reconciler.api.secret import redact_body
from reconciler.api.server import Server
from reconciler.errors import ApiError, NoAnswer, PermanentError, Unsupported

_MOST_BYTES = 64 * 2**20
_USUAL = httpx.Timeout(60.0, connect=10.0)
_UPLOAD = httpx.Timeout(300.0, connect=10.0)
_LONGEST = 300.0  # seconds for a whole exchange that is no upload: a server that drips bytes must not hold a plan
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


class Transport:
    """Speaks to one server; close it with ``aclose``. ``inner`` replaces the network; ``now`` is in Unix seconds.

    Raises:
        UsageError: the environment names a proxy or certificates that cannot be used.
    """

    def __init__(self, server: Server, inner: httpx.AsyncBaseTransport | None, now: Callable[[], float]) -> None:
        if inner is None and server.app is not None:
            inner = httpx.ASGITransport(app=cast("Any", server.app), raise_app_exceptions=False)
        self._server = server
        self._now = now
        try:
            self._http = httpx.AsyncClient(
                transport=inner,
                verify=trust(server.base_url),
                headers=_headers(server),
                timeout=_USUAL,
                limits=httpx.Limits(max_connections=32, max_keepalive_connections=32),
                follow_redirects=False,
            )
        except UNUSABLE as error:
            raise unusable(error) from None

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes | AsyncIterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        sink: Callable[[bytes], object] | None = None,
    ) -> Reply:
        """Send one request, once, and read the answer whole. A streamed body gets the patience of an upload.

        With a ``sink``, the body of a good answer goes there piece by piece, of whatever size, and not into the reply.

        Raises:
            NoAnswer: none came, or only part of one.
            ApiError: the server refused, as ``fault`` translates it.
        """
        streamed = isinstance(content, AsyncIterable)
        request = self._http.build_request(
            method,
            self._server.base_url + path,
            params=params,
            content=content,
            headers=headers,
            timeout=_UPLOAD if streamed else _USUAL,
        )
        log_request(request)
        try:
            async with asyncio.timeout(None if streamed or sink else _LONGEST):
                reply = await self._exchange(request, f"{method} {path}", sink)
        except (httpx.RequestError, httpx.InvalidURL, httpx.StreamError, TimeoutError) as error:
            log_failure(f"{method} {path}", error)
            raise self._unanswered(error, f"{method} {path}") from error
        if reply.status >= 300:
            raise fault(reply, now=self._now(), key_env=self._server.key_env)
        return reply

    async def _exchange(self, request: httpx.Request, name: str, sink: Callable[[bytes], object] | None) -> Reply:
        response = await self._http.send(request, stream=True)
        try:
            if "event-stream" in response.headers.get("content-type", ""):
                words = f"{name} is answered with an endless stream, which is not read."
                raise Unsupported(words, status=response.status_code)
            body = bytearray()
            async for chunk in response.aiter_bytes():
                if sink and response.is_success:
                    sink(chunk)
                    continue
                body += chunk
                if len(body) > _MOST_BYTES:
                    words = f"The answer to {name} is larger than {_MOST_BYTES // 2**20} MB."
                    raise PermanentError(words, status=response.status_code)
        finally:
            await response.aclose()
            log_answer(response, name.partition(" ")[2])
        key = self._server.key
        return Reply(name, response.status_code, response.headers, redact_body(bytes(body), key), key)

    def _unanswered(self, error: Exception, name: str) -> ApiError:
        server = self._server
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return PermanentError(
                    f"The certificate of {server.base_url} is not trusted: {clean(cause.verify_message, server.key)}.",
                    hint="Set SSL_CERT_FILE to the certificate of the authority that signed it.",
                )
            cause = cause.__cause__ or cause.__context__
        words = clean(error, server.key) or type(error).__name__
        sent = not isinstance(error, _NEVER_SENT)
        failure = NoAnswer(
            f"No answer from {server.base_url} to {name}: {words}."
            if sent
            else f"{server.base_url} cannot be reached: {words}.",
            hint="Check the address, the network and the proxy settings." if not sent else "",
        )
        failure.sent = sent
        return failure


def trust(base_url: str) -> ssl.SSLContext | bool:
    """Return the usual authorities; none for plain HTTP, because to read them takes longer than most commands."""
    return base_url.startswith("https:") or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _headers(server: Server) -> dict[str, str]:
    headers = {"User-Agent": f"finetune-reconciler/{__version__}", "Accept": "application/json"}
    if server.key is not None:
        headers |= {"api-key": server.key} if server.auth == "api-key" else {"Authorization": f"Bearer {server.key}"}
    if server.organization:
        headers["OpenAI-Organization"] = server.organization
    if server.project:
        headers["OpenAI-Project"] = server.project
    return headers
