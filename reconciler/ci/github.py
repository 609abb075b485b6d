"""GitHub's REST API, as far as a comment on a pull request and a look at what was merged need it.

Reads and writes that may be repeated are tried again after a fault of the server; creating a comment is not. Redirects
are not followed, and the next page is asked for by number, so the token goes nowhere but to the API it is for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from reconciler import __version__
from reconciler.api.proxies import UNUSABLE, unusable
from reconciler.api.transport import trust
from reconciler.errors import HostError
from reconciler.report.escape import clean

Body = Mapping[str, object]
Params = Mapping[str, int | str]

ACTIONS_BOT = "github-actions[bot]"
"""Who comments with the token that a workflow gets by itself."""

_PAGE = 100
_MOST_PAGES = 100
_PAUSES = (0.5, 2.0)
_TIMEOUT = 15.0
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment on a pull request."""

    id: int
    author: str
    body: str


@dataclass(frozen=True, slots=True)
class Pull:
    """A pull request that was merged: its last commit, and the one that its merge made."""

    number: int
    head: str
    merge: str


class GitHub:
    """One repository, of an ``owner``: its branches, pull requests and comments.

    ``sleep`` takes seconds; ``transport`` replaces the network.
    """

    def __init__(
        self,
        api_url: str,
        repository: str,
        token: str,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        if not _TOKEN.fullmatch(token):
            raise HostError("GITHUB_TOKEN holds a space, a line break or a character that no token has.")
        self.owner = repository.partition("/")[0]
        self._repository = f"/repos/{repository}"
        self._sleep = sleep
        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {token}",
            "User-Agent": f"reconciler/{__version__}",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        try:
            self._http = httpx.Client(
                base_url=api_url, transport=transport, verify=trust(api_url), timeout=_TIMEOUT, headers=headers
            )
        except UNUSABLE as error:
            fault = unusable(error)
            raise HostError(fault.message, hint=fault.hint) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def login(self) -> str:
        """Return who we are: a user, or, where the token is no user's, the bot of workflows."""
        try:
            found = self._request("GET", "/user")
        except HostError as error:
            if error.status in (401, 403, 404):
                return ACTIONS_BOT
            raise
        name = found.get("login") if isinstance(found, dict) else None
        return name if isinstance(name, str) else ACTIONS_BOT

    def comments(self, number: int) -> Iterator[Comment]:
        """Yield the comments of a pull request, oldest first, over all their pages."""
        for page in range(1, _MOST_PAGES + 1):
            found = self.ask("GET", f"issues/{number}/comments", params={"per_page": _PAGE, "page": page})
            if not isinstance(found, list):
                raise HostError("GitHub's list of comments is no list.")
            yield from map(_comment, found)
            if len(found) < _PAGE:
                return

    def create(self, number: int, body: str) -> Comment:
        """Write a comment. Sent once: after an error it may be there all the same, and the next run finds it."""
        return _comment(self.ask("POST", f"issues/{number}/comments", {"body": body}))

    def update(self, comment_id: int, body: str) -> Comment:
        """Replace what a comment says."""
        return _comment(self.ask("PATCH", f"issues/comments/{comment_id}", {"body": body}))

    def delete(self, comment_id: int) -> None:
        """Delete a comment; one that is gone already is deleted."""
        try:
            self.ask("DELETE", f"issues/comments/{comment_id}")
        except HostError as error:
            if error.status != 404:
                raise

    def tip(self, branch: str) -> str:
        """Return the newest commit of a branch."""
        found = self.ask("GET", f"branches/{quote(branch, safe='')}")
        commit = found.get("commit") if isinstance(found, dict) else None
        sha = commit.get("sha") if isinstance(commit, dict) else None
        if not isinstance(sha, str):
            raise HostError("GitHub's branch has no commit.")
        return sha

    def merged(self, commit: str) -> list[Pull]:
        """Return the merged pull requests that a commit belongs to."""
        found = self.ask("GET", f"commits/{commit}/pulls", params={"per_page": _PAGE})
        return [pull for each in (found if isinstance(found, list) else []) if (pull := _merged(each))]

    def ask(self, method: str, path: str, body: Body | None = None, params: Params | None = None) -> Any:  # noqa: ANN401 - JSON is anything
        """Ask something of the repository, ``path`` being below its own. What may be sent twice is tried again.

        Raises:
            HostError: GitHub refused, failed or did not answer.
        """
        return self._request(method, f"{self._repository}/{path}", body, params)

    def _request(self, method: str, path: str, body: Body | None = None, params: Params | None = None) -> Any:  # noqa: ANN401
        for pause in _PAUSES if method != "POST" else ():
            try:
                return self._once(method, path, body, params)
            except HostError as error:
                if 0 < error.status < 500:
                    raise
            self._sleep(pause)
        return self._once(method, path, body, params)

    def _once(self, method: str, path: str, body: Body | None, params: Params | None) -> Any:  # noqa: ANN401
        try:
            answer = self._http.request(method, path, params=params, json=body)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise HostError(f"GitHub did not answer: {type(error).__name__}.") from error
        try:
            found = answer.json() if answer.content else None
        except ValueError as error:
            raise _refusal(answer, None) from error
        if not answer.is_success:
            raise _refusal(answer, found)
        return found


def _comment(found: object) -> Comment:
    """Read a comment; what is not of the documented form is nobody's, so it is never ours."""
    fields = found if isinstance(found, dict) else {}
    number, body, user = fields.get("id"), fields.get("body"), fields.get("user")
    author = user.get("login") if isinstance(user, dict) else None
    if not isinstance(number, int):
        raise HostError("GitHub's comment has no id.")
    return Comment(number, author if isinstance(author, str) else "", body if isinstance(body, str) else "")


def _merged(found: object) -> Pull | None:
    """Read a pull request; None for one that was not merged, or that is not of the documented form."""
    match found:
        case {"number": int(number), "merged_at": str(), "head": {"sha": str(head)}, "merge_commit_sha": str(merge)}:
            return Pull(number, head, merge)
    return None


def _refusal(answer: httpx.Response, found: object) -> HostError:
    status = answer.status_code
    message = found.get("message") if isinstance(found, dict) else None
    said = clean(message, 200) if isinstance(message, str) else ""
    spent = answer.headers.get("x-ratelimit-remaining") == "0" or "retry-after" in answer.headers
    if status in (403, 429) and (spent or "rate limit" in said.lower()):
        return HostError("GitHub's rate limit is reached.", status=status)
    words = f": {said}" if said else ""
    hint = "Give the job permissions: contents: read, pull-requests: write." if status in (403, 404) else ""
    return HostError(f"GitHub answered {status}{words}", hint=hint, status=status)
