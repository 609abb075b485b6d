"""How much the token of a workflow may do, as far as its file says. Pure.

A step that is taken over can do whatever its token can. So a token that may do more than a comment takes is warned of.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.errors import SpecError
from reconciler.spec import documents

_ENOUGH: dict[str, tuple[str, ...]] = {
    "contents": ("read",),
    "pull-requests": ("read", "write"),
    "metadata": ("read",),  # every token has it
    "id-token": ("write",),  # gives no right to the repository; a vault may ask for it
}
_ADVICE = "Give the job permissions: contents: read, and pull-requests: write where it comments."


def too_wide(workflow: bytes, job: str, *, writes: bool = False) -> str:
    """Say in what the token of a workflow's job may do more than it needs to; empty where nothing shows that it may.

    ``workflow`` is the content of its file; one that cannot be read says nothing: GitHub has read it. ``writes`` says
    that the job commits a lock file.
    """
    try:
        found = documents.read("", workflow)
        document = found[0].value() if found else None
    except SpecError:
        return ""
    if not isinstance(document, Mapping):
        return ""
    jobs = document.get("jobs")
    own = jobs.get(job) if isinstance(jobs, Mapping) else None
    said = [d["permissions"] for d in (own, document) if isinstance(d, Mapping) and "permissions" in d]
    if not said:
        return f"The workflow states no permissions, so its token may do all that the repository allows. {_ADVICE}"
    return _beyond(said[0], {**_ENOUGH, "contents": ("read", "write")} if writes else _ENOUGH)


def _beyond(permissions: object, enough: Mapping[str, tuple[str, ...]]) -> str:
    if isinstance(permissions, str):
        return f"The workflow's token has {permissions}, more than it needs. {_ADVICE}"
    if not isinstance(permissions, Mapping):
        return ""
    beyond = [
        f"{scope}: {access}"
        for scope, access in permissions.items()
        if access != "none" and access not in enough.get(str(scope), ())
    ]
    return f"The workflow's token has {', '.join(beyond)}, more than it needs. {_ADVICE}" if beyond else ""
