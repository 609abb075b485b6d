"""What GitHub tells a run about itself: which event, whose pull request, where results go. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, cast

from reconciler.errors import UsageError

Command = Literal["validate", "plan", "apply", "drift"]
Asked = Literal["auto", "validate", "plan", "apply", "drift"]

_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")
_HOST = re.compile(r"https?://[A-Za-z0-9.-]+(:\d{1,5})?")
_URL = re.compile(rf"{_HOST.pattern}(/[A-Za-z0-9_./-]*)?")
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_PULL_REQUEST = ("pull_request", "pull_request_review", "pull_request_review_comment")
"""Events that check out what a pull request proposes."""
GITHUB = "https://github.com"
API = "https://api.github.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where a run takes place.

    ``event`` is empty outside of GitHub. ``pull_request`` is a number, for its events only; ``merged`` says that the
    event is its merge, ``fork`` that it comes from another repository, ``branch`` is the one it goes to and ``base``
    that one's commit. ``commit`` is the one that people know: a pull request's own, not the merge that GitHub tries,
    which is ``tried``. ``workflow`` is the file in this repository whose ``job`` runs. ``output`` and ``summary`` are
    the files that GitHub reads after the step. ``token`` is GitHub's, a secret.
    """

    event: str = ""
    pull_request: int | None = None
    merged: bool = False
    fork: bool = False
    branch: str = ""
    base: str | None = None
    tried: str | None = None
    ref: str = ""
    default_branch: str | None = None
    commit: str | None = None
    repository: str | None = None
    api_url: str = API
    server_url: str | None = GITHUB
    run_url: str | None = None
    workspace: Path | None = None
    output: Path | None = None
    summary: Path | None = None
    workflow: PurePosixPath | None = None
    job: str = ""
    runner: bool = False
    token: str | None = field(default=None, repr=False)

    @property
    def proposed(self) -> bool:
        """Whether what is checked out is only proposed: nobody has approved it yet."""
        return self.event in _PULL_REQUEST and not self.merged

    @property
    def applied_branch(self) -> str:
        """The branch whose commits this event applies; empty for a tag, and outside of GitHub."""
        if self.event == "pull_request":
            return self.branch
        return self.ref.removeprefix("refs/heads/") if self.ref.startswith("refs/heads/") else ""

    def choose(self, asked: Asked) -> Command:
        """Say which command runs.

        ``auto`` is plan on a pull request, apply on a push to the default branch, drift on a schedule, and plan, which
        changes nothing, on every other event.

        Raises:
            UsageError: this event must not run it, or there is none to choose by.
        """
        if self.event == "pull_request_target":
            raise UsageError(
                "On pull_request_target the specs of a stranger's pull request would run with this repository's key.",
                hint="Use on: pull_request in the workflow; reconciler ci refuses the other event.",
            )
        command = self._auto() if asked == "auto" else asked
        if command == "apply" and self.proposed:
            raise UsageError(
                "A pull request must not apply: nobody has approved yet what it would buy.",
                hint="Plan on pull_request, and apply on a push to the default branch: --command auto does both.",
            )
        return command

    def _auto(self) -> Command:
        if not self.event:
            raise UsageError(
                "--command auto goes by GitHub's event, and GITHUB_EVENT_NAME is not set.",
                hint="Outside of GitHub say which: --command validate, plan, apply or drift.",
            )
        if self.event == "push" and self.default_branch and self.ref == f"refs/heads/{self.default_branch}":
            return "apply"
        return "drift" if self.event == "schedule" else "plan"


def read_surroundings(env: Mapping[str, str], payload: bytes | None) -> Surroundings:
    """Read GitHub's environment; ``payload`` is the content of the file GITHUB_EVENT_PATH, None where there is none.

    Values that are not of their documented form count as absent: they end up in URLs and links.

    Raises:
        UsageError: the payload is no JSON object.
    """
    event = _payload(payload)
    name = env.get("GITHUB_EVENT_NAME", "")
    pull = event.get("pull_request") if name in _PULL_REQUEST else None
    pull = pull if isinstance(pull, dict) else {}
    number = pull.get("number")
    head, base = _dict(pull.get("head")), _dict(pull.get("base"))
    repository = _matching(_REPOSITORY, env.get("GITHUB_REPOSITORY"))
    server_url = _matching(_HOST, env.get("GITHUB_SERVER_URL") or GITHUB)
    return Surroundings(
        event=name,
        pull_request=number if isinstance(number, int) and not isinstance(number, bool) else None,
        merged=pull.get("merged") is True,
        fork=bool(pull) and _name_of(head) != (repository or "").lower(),
        branch=_text(base.get("ref")) or "",
        base=_matching(_COMMIT, _text(base.get("sha"))),
        tried=_matching(_COMMIT, env.get("GITHUB_SHA")),
        ref=env.get("GITHUB_REF", ""),
        default_branch=_text(_dict(event.get("repository")).get("default_branch")),
        commit=_matching(_COMMIT, _text(head.get("sha")) or env.get("GITHUB_SHA")),
        repository=repository,
        api_url=_matching(_URL, env.get("GITHUB_API_URL")) or API,
        server_url=server_url,
        run_url=_run_url(server_url, repository, env.get("GITHUB_RUN_ID", "")),
        workspace=_path(env.get("GITHUB_WORKSPACE")),
        output=_path(env.get("GITHUB_OUTPUT")),
        summary=_path(env.get("GITHUB_STEP_SUMMARY")),
        workflow=_workflow(env.get("GITHUB_WORKFLOW_REF", ""), repository),
        job=env.get("GITHUB_JOB", ""),
        runner=env.get("GITHUB_ACTIONS") == "true",
        token=env.get("GITHUB_TOKEN") or None,
    )


def _payload(payload: bytes | None) -> dict[str, Any]:
    if payload is None:
        return {}
    try:
        event = json.loads(payload)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise UsageError("The file GITHUB_EVENT_PATH names is no JSON object.", hint="GitHub's runner writes it.")
    return event


def _name_of(head: Mapping[str, Any]) -> str | None:
    """Return the name of the repository that a pull request comes from; a fork may be gone meanwhile."""
    name = _text(_dict(head.get("repo")).get("full_name"))
    return name.lower() if name else None


def _workflow(ref: str, repository: str | None) -> PurePosixPath | None:
    """Return the path in ``OWNER/NAME/PATH@REF``; None where the workflow is another repository's."""
    found = re.fullmatch(r"([^/]+/[^/]+)/(\.github/workflows/[^/@]+)@.*", ref)
    return PurePosixPath(found[2]) if found and found[1] == repository else None


def _run_url(host: str | None, repository: str | None, run: str) -> str | None:
    return f"{host}/{repository}/actions/runs/{run}" if host and repository and re.fullmatch(r"\d+", run) else None


def _matching(pattern: re.Pattern[str], text: str | None) -> str | None:
    return text if text and pattern.fullmatch(text) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _dict(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _path(value: str | None) -> Path | None:
    return Path(value) if value else None
