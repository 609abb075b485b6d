"""What jobs to come will cost, about: which price, for which jobs, and in all."""

from __future__ import annotations

from typing import Any

import pytest
from plan_support import B, C, find, job, plan, spec

from reconciler.plan.model import Cost
from reconciler.plan.planner import Options
from reconciler.plan.saved import load, save
from reconciler.spec.desired import Upstream
from reconciler.spec.policy import MaxActive, Policy, Price

MINI = Price(per_million=5)
PRICES = {"gpt-4o-mini": MINI}


def policy(prices: dict[str, Price] = PRICES, **more: Any) -> Policy:
    return Policy(prices=prices, **more)


def test_a_job_to_come_costs_its_tokens_at_its_models_price() -> None:
    made = plan(spec(), policy=policy())
    assert find(made, "triage").cost == Cost(3000, 0.015, "USD")
    assert made.costs == {"USD": 0.015}


def test_without_prices_nothing_is_said() -> None:
    made = plan(spec())
    assert find(made, "triage").cost is None
    assert made.costs == {}


@pytest.mark.parametrize(
    ("model", "prices", "amount"),
    [
        ("gpt-4o-mini", {"gpt-*": 1, "gpt-4o-*": 2, "*": 3}, 2),
        ("gpt-4o-mini", {"gpt-4o-mini-2024-*": 1, "gpt-4o-mini": 2}, 2),
        ("gpt-4o-mini-2024-07-18", {"gpt-4o-mini": 2, "o4-*": 3}, 2),
        ("ft:gpt-4o-mini:acme::x", {"gpt-4o-mini": 2}, 2),
        ("other", {"gpt-*": 2}, None),
    ],
)
def test_the_price_is_of_the_model_itself_else_of_the_longest_pattern(
    model: str, prices: dict[str, int], amount: int | None
) -> None:
    found = find(plan(spec(model=model), policy=policy({m: Price(per_million=p) for m, p in prices.items()})), "triage")
    assert (found.cost and round(found.cost.amount * 1_000_000 / 3000)) == amount


def test_a_job_that_waits_is_bought_later_and_costs_too() -> None:
    made = plan([spec(), spec("b", B)], policy=policy(max_active=MaxActive(total=1)))
    assert find(made, "b").cost == Cost(3000, 0.015, "USD")
    assert made.costs == {"USD": 0.03}


def test_a_chain_costs_what_its_first_model_does() -> None:
    specs = [spec(), spec("b", B, model=Upstream("triage")), spec("c", C, model=Upstream("b"))]
    made = plan(specs, job(), policy=policy())
    assert find(made, "c").cost == Cost(3000, 0.015, "USD")
    assert find(made, "triage").cost is None


def test_data_known_by_its_id_has_no_size_and_no_cost() -> None:
    assert find(plan(spec(training_file="file-1"), policy=policy()), "triage").cost is None


def test_each_currency_is_a_sum_of_its_own() -> None:
    prices = {"a": Price(per_million=1000, currency="USD"), "b": Price(per_million=1000, currency="EUR")}
    specs = [spec(f"{model}{i}", f"{model}{i}".ljust(16, "0"), model=model) for model in "ab" for i in range(2)]
    assert plan(specs, policy=policy(prices)).costs == {"EUR": 6.0, "USD": 6.0}


def test_a_price_changes_nothing_about_what_a_plan_does() -> None:
    assert plan(spec(), policy=policy()).fingerprint == plan(spec()).fingerprint


def test_a_saved_plan_keeps_its_costs() -> None:
    made = plan(spec(), policy=policy())
    saved = save(made, ["specs"], None, Options(), [spec()], policy())
    assert load(saved).plan == made
