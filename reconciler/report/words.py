"""Phrases that several reports share: what a plan comes to, and how a revision is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reconciler.plan.model import Action, Cost, Difference, Plan
from reconciler.report.escape import exact
from reconciler.report.style import LOOKS

UNSET = "(unset)"
"""How a difference shows a field that is left to the server."""

LONGEST_VALUE = 240
"""Characters shown of one value of a difference."""

_ENDLESS = 1_000_000


def counts(summary: Mapping[str, int]) -> str:
    """Return ``2 to create, 1 waits, 9 unchanged``: every action that occurs, in order."""
    parts = []
    for action, look in LOOKS.items():
        if count := summary.get(action.value, 0):
            parts.append(f"{count} {look.one if count == 1 else look.many}")
    return ", ".join(parts)


def access_counts(plan: Plan) -> Iterator[str]:
    """Yield ``2 permissions to grant`` and ``1 permission to revoke``, as far as there are any."""
    for verb, count in (
        ("grant", sum(len(a.grant) for a in plan.access)),
        ("revoke", sum(len(a.revoke) for a in plan.access)),
    ):
        if count:
            yield f"{count} {'permission' if count == 1 else 'permissions'} to {verb}"


def matching(count: int) -> str:
    """Return how many jobs are as their specs want them."""
    return "1 job matches its spec" if count == 1 else f"{count} jobs match their specs"


def conclusion(plan: Plan) -> str:
    """Return the last line of a plan: what applying it comes to."""
    if plan.compared:
        return _compared(plan)
    if not plan.changes:
        return "No changes. There are no specs, and no jobs of this owner."
    if plan.summary[Action.NONE] == len(plan.changes) and not plan.has_changes:
        return f"No changes. {matching(len(plan.changes))}."
    if not plan.has_changes:
        return f"Nothing to apply: {counts(plan.summary)}.{_costs(plan)}"
    return f"Plan: {', '.join([counts(plan.summary), *access_counts(plan)])}.{_costs(plan)}"


def _compared(plan: Plan) -> str:
    if not plan.has_changes:
        return "No changes against the base branch."
    return f"Against the base branch: {counts(plan.summary)}.{_costs(plan)}"


def money(amount: float, currency: str) -> str:
    """Return ``12.50 USD``; what is less than a hundredth but more than nothing says so."""
    return f"under 0.01 {currency}" if 0 < amount < 0.01 else f"{amount:,.2f} {currency}"


def estimate(cost: Cost) -> str:
    """Return ``about 12.50 USD``."""
    words = money(cost.amount, cost.currency)
    return words if words.startswith("under") else f"about {words}"


def costs(plan: Plan) -> str:
    """Return ``12.50 USD``, each currency by itself: what the jobs to come cost; empty where no model has a price."""
    return ", ".join(money(amount, currency) for currency, amount in plan.costs.items())


def _costs(plan: Plan) -> str:
    if not plan.costs:
        return ""
    unknown = sum(c.buys and c.cost is None for c in plan.changes)
    rest = f", and {unknown} {'job' if unknown == 1 else 'jobs'} without a price" if unknown else ""
    return f" Estimated cost: {costs(plan)}{rest}."


def revision(digest: str | None, attempt: int | None) -> str:
    """Return ``3f2a91c0 #1``: the first eight digits of a revision, and the attempt."""
    if digest is None:
        return ""
    return f"{digest[:8]} #{attempt}" if attempt is not None else digest[:8]


def sides(difference: Difference, limit: int = LONGEST_VALUE) -> tuple[str, str]:
    """Return both values, harmless; long ones are cut so that the first place where they differ is still seen."""
    old, new = (UNSET if v is None else exact(v, _ENDLESS) for v in (difference.old, difference.new))
    if max(len(old), len(new)) <= limit:
        return old, new
    shared = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    start = max(0, shared - limit // 4)
    return _window(old, start, limit), _window(new, start, limit)


def rows_changed(difference: Difference) -> str:
    """Return ``: 30 added, 8 removed``, what stands after both values where rows were counted; else nothing."""
    if difference.rows_added is None or difference.rows_removed is None:
        return ""
    if not difference.rows_added and not difference.rows_removed:
        return ": the same rows in another order"
    return f": {difference.rows_added:,} added, {difference.rows_removed:,} removed"


def _window(text: str, start: int, limit: int) -> str:
    cut = text[start : start + limit]
    return ("…" if start else "") + cut + ("…" if start + limit < len(text) else "")
