"""What jobs to come will cost, about. Pure: prices are the repository's own, tokens are estimated.

Nobody but the server knows what it will charge; the estimate is there so that a reviewer sees whether a change costs
cents or hundreds. A job whose model has no price, or whose data is known by a file id alone, has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from reconciler.plan.limits import estimated_tokens, matches
from reconciler.plan.model import Change, Cost
from reconciler.spec.desired import Desired, Upstream
from reconciler.spec.policy import Price


def priced(changes: Sequence[Change], desired: Mapping[str, Desired], prices: Mapping[str, Price]) -> list[Change]:
    """Return changes with the cost of each job to come, those that still wait for something included."""
    return [replace(c, cost=_cost(c, desired, prices)) if c.buys and c.name in desired else c for c in changes]


def _cost(change: Change, desired: Mapping[str, Desired], prices: Mapping[str, Price]) -> Cost | None:
    spec = desired[change.name]
    price = price_of(change.model or base_model(spec, desired), prices)
    if price is None or isinstance(spec.training_file, str):
        return None
    return cost_of(estimated_tokens(spec), price)


def cost_of(tokens: int, price: Price) -> Cost:
    """Return what so many training tokens cost."""
    return Cost(tokens, tokens * price.per_million / 1_000_000, price.currency)


def base_model(spec: Desired, desired: Mapping[str, Desired]) -> str:
    """Return the model that a chain of specs begins with."""
    while isinstance(spec.model, Upstream):
        spec = desired[spec.model.job]
    return spec.model


def price_of(model: str, prices: Mapping[str, Price]) -> Price | None:
    """Return the price of a model, None where it has none: that of its very name first, else of the longest glob."""
    if model in prices:
        return prices[model]
    found = max((p for p in prices if matches(model, p)), key=lambda p: (len(p), p), default=None)
    return prices[found] if found is not None else None
