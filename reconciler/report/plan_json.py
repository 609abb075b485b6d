"""A plan, and what became of it, as JSON objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reconciler.apply.model import Outcome
from reconciler.apply.permissions import Granted
from reconciler.errors import ApiError, ReconcilerError
from reconciler.plan.model import Access, Change, Cost, Difference, Plan


def plan_json(plan: Plan) -> dict[str, Any]:
    """Return the document of ``plan --format json``."""
    return _document(plan, [change_json(c) for c in plan.changes], [access_json(a) for a in plan.access])


def outcomes_json(plan: Plan, outcomes: Sequence[Outcome], granted: Sequence[Granted] = ()) -> dict[str, Any]:
    """Return the document of ``apply --format json``: the plan's, and what became of each change and permission.

    A change that nothing was done for is ``skipped``. What was done beyond the plan (a duplicate that lost a race)
    comes last.
    """
    ends = {o.change: o for o in outcomes}
    planned = [_ended(c, ends.pop(c, None)) for c in plan.changes]
    given = {end.access: end for end in granted}
    access = [_given(a, given.get(a)) for a in plan.access]
    return _document(plan, [*planned, *(_ended(c, o) for c, o in ends.items())], access)


def _document(plan: Plan, changes: list[dict[str, Any]], access: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "owner": plan.owner,
        "server": plan.server,
        "changes": changes,
        "permissions": access,
        "summary": dict(plan.summary),
        "fingerprint": plan.fingerprint,
        "warnings": list(plan.warnings),
        "unsafe": list(plan.unsafe),
        "cost": {currency: round(amount, 6) for currency, amount in plan.costs.items()},
    }


def change_json(change: Change) -> dict[str, Any]:
    """Return one change; absent facts are null, never left out."""
    return {
        "name": change.name,
        "action": change.action.value,
        "reason": change.reason,
        "job_id": change.job_id,
        "revision": change.revision,
        "attempt": change.attempt,
        "diff": [_difference_json(d) for d in change.diff],
        "model": change.model,
        "requires": change.requires,
        "notes": list(change.notes),
        "cost": _cost_json(change.cost),
    }


def _cost_json(cost: Cost | None) -> dict[str, Any] | None:
    return None if cost is None else {"tokens": cost.tokens, "amount": round(cost.amount, 6), "currency": cost.currency}


def access_json(access: Access) -> dict[str, Any]:
    """Return what changes in who may use a model."""
    return {
        "name": access.name,
        "model": access.model,
        "grant": list(access.grant),
        "revoke": [project for project, _ in access.revoke],
        "left": list(access.left),
        "blocked": access.blocked or None,
    }


def _given(access: Access, end: Granted | None) -> dict[str, Any]:
    return access_json(access) | {
        "outcome": end.result if end else "skipped",
        "detail": end.detail if end else "",
        "error": error_json(end.error) if end and end.error else None,
    }


def _difference_json(difference: Difference) -> dict[str, Any]:
    """Return one field's difference; the rows only where both contents are known."""
    document: dict[str, Any] = {"field": difference.field, "old": difference.old, "new": difference.new}
    if difference.rows_added is not None:
        document |= {"rows_added": difference.rows_added, "rows_removed": difference.rows_removed}
    return document


def _ended(change: Change, outcome: Outcome | None) -> dict[str, Any]:
    document = change_json(change)
    if outcome is None:
        return document | {"outcome": "skipped", "detail": "", "error": None, "request_id": None}
    return document | {
        "job_id": outcome.job_id or change.job_id,
        "outcome": outcome.result,
        "detail": outcome.detail,
        "error": None if outcome.error is None else error_json(outcome.error),
        "request_id": outcome.request_id,
    }


def error_json(error: ReconcilerError) -> dict[str, Any]:
    """Return an error; ``status``, ``code``, ``param`` and ``request_id`` are null where no server spoke."""
    api = error if isinstance(error, ApiError) else None
    return {
        "type": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "status": (api.status or None) if api else None,
        "code": api.code if api else None,
        "param": api.param if api else None,
        "request_id": api.request_id if api else None,
    }
