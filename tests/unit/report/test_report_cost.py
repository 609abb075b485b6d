"""What jobs to come will cost, as each report of a plan says it."""

from __future__ import annotations

import pytest

from reconciler.plan.model import Action, Change, Cost, Plan
from reconciler.report.plan_json import plan_json
from reconciler.report.plan_markdown import plan_markdown
from reconciler.report.plan_text import render_plan
from reconciler.report.words import conclusion, money


def create(name: str, cost: Cost | None) -> Change:
    return Change(name, Action.CREATE, "why", revision="r" * 16, attempt=1, cost=cost)


PLAN = Plan.of("o", "s", [create("a", Cost(2_500_000, 12.5, "USD")), create("b", Cost(1, 0.000001, "EUR"))])


def test_a_plan_as_text_says_it_beside_each_job() -> None:
    text = render_plan(PLAN, color=False, width=None)
    assert "cost  about 12.50 USD, for about 2,500,000 tokens" in text
    assert text.endswith("Plan: 2 to create. Estimated cost: under 0.01 EUR, 12.50 USD.\n")


def test_a_plan_as_markdown_says_it_in_each_row() -> None:
    text = plan_markdown(PLAN)
    assert "why<br>about 12.50 USD |" in text
    assert "why<br>under 0.01 EUR |" in text
    assert "### Plan: 2 to create. Estimated cost:" in text


def test_a_plan_as_json_has_it_beside_what_it_always_had() -> None:
    document = plan_json(PLAN)
    assert document["cost"] == {"EUR": 0.000001, "USD": 12.5}
    assert document["changes"][0]["cost"] == {"tokens": 2_500_000, "amount": 12.5, "currency": "USD"}
    assert plan_json(Plan.of("o", "s", [create("a", None)]))["changes"][0]["cost"] is None


@pytest.mark.parametrize(
    ("without", "words"), [(1, ", and 1 job without a price."), (2, ", and 2 jobs without a price.")]
)
def test_jobs_without_a_price_are_counted(without: int, words: str) -> None:
    bare = [create(f"x{i}", None) for i in range(without)]
    assert conclusion(Plan.of("o", "s", [*PLAN.changes[:1], *bare])).endswith(f"12.50 USD{words}")
    assert conclusion(Plan.of("o", "s", bare)) == f"Plan: {without} to create."


@pytest.mark.parametrize(("amount", "words"), [(0, "0.00 X"), (0.004, "under 0.01 X"), (1234.567, "1,234.57 X")])
def test_money_is_rounded_to_what_people_pay(amount: float, words: str) -> None:
    assert money(amount, "X") == words
