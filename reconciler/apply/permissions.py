"""Granting and taking back permissions: after the jobs, each model by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from reconciler.apply.model import Result
from reconciler.errors import ReconcilerError
from reconciler.plan.model import Access


class AccessApi(Protocol):
    """The calls that permissions take. Both look before they repeat, so an error is final."""

    async def grant(self, model: str, projects: Sequence[str]) -> None: ...  # noqa: D102
    async def revoke(self, model: str, permission_id: str) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Granted:
    """What became of one model's permissions. A failure is data; ``detail`` says what was left out, and why."""

    access: Access
    result: Result
    error: ReconcilerError | None = None
    detail: str = ""


async def apply_access(api: AccessApi, planned: Sequence[Access], *, revoke: bool) -> list[Granted]:
    """Grant, then take back: all that is planned, in order. After any error nothing more is taken back.

    ``revoke`` False says that something has failed before.
    """
    done: list[Granted] = []
    for access in planned:
        if access.acts:
            done.append(await _one(api, access, revoke=revoke))
            revoke = revoke and done[-1].result == "done"
    return done


async def _one(api: AccessApi, access: Access, *, revoke: bool) -> Granted:
    try:
        if access.grant:
            await api.grant(access.model, access.grant)
        if access.revoke and not revoke:
            return Granted(access, "skipped", detail="after an error nothing is taken back")
        for _, permission_id in access.revoke:
            await api.revoke(access.model, permission_id)
    except ReconcilerError as error:
        return Granted(access, "failed", error)
    return Granted(access, "done")
