"""Payment terms: what is due when, and how much. Rows for reinforcement, with the answer in reference fields."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from random import Random
from typing import Any

import phrases
from facts import WEEKDAYS

SYSTEM = (
    "Work out the last day to pay on time, and what is owed if it is paid on the day named. "
    "Answer as JSON with due (ISO 8601), pay (plain decimal string) and currency (ISO 4217)."
)


@dataclass(frozen=True)
class Terms:
    """Payment terms such as '2/10 net 45, counted from the end of the month'.

    ``discount`` and ``interest`` are in percent; interest is for each day late, on the full amount.
    """

    net: int
    end_of_month: bool
    discount: Decimal
    discount_days: int
    interest: Decimal
    holidays: frozenset[date]

    def last_day(self, invoiced: date, days: int) -> date:
        """Count days from the invoice; a weekend or holiday moves the last one to the next working day."""
        day = (phrases.month_end(invoiced) if self.end_of_month else invoiced) + timedelta(days)
        while day.weekday() >= 5 or day in self.holidays:
            day += timedelta(1)
        return day

    def owed(self, amount: Decimal, invoiced: date, paid: date) -> Decimal:
        """Return what is owed on a day, unrounded."""
        if self.discount and paid <= self.last_day(invoiced, self.discount_days):
            return amount * (100 - self.discount) / 100
        late = max(0, (paid - self.last_day(invoiced, self.net)).days)
        return amount * (100 + self.interest * late) / 100

    def __str__(self) -> str:
        """Say it as an invoice does."""
        start = "the end of the invoice's month" if self.end_of_month else "the invoice date"
        parts = [f"net {self.net} days from {start}"]
        if self.discount:
            parts.append(f"{self.discount} % discount if paid within {self.discount_days} days of {start}")
        if self.interest:
            parts.append(f"{self.interest} % simple interest on the invoice amount for each day late")
        return "; ".join(parts)


def _terms(rng: Random, invoiced: date) -> Terms:
    bare = Terms(
        net=rng.choice((14, 30, 30, 45, 60, 90)),
        end_of_month=rng.random() < 0.4,
        discount=rng.choice((Decimal(0), Decimal(2), Decimal(3), Decimal("1.5"))),
        discount_days=rng.choice((7, 8, 10)),
        interest=rng.choice((Decimal(0), Decimal("0.02"), Decimal("0.05"))),
        holidays=frozenset(),
    )
    last = bare.last_day(invoiced, bare.net)
    first = bare.last_day(invoiced, bare.discount_days)
    days = rng.choice([[], [last], [last, last + timedelta(1)], [first]])
    return Terms(**{**vars(bare), "holidays": frozenset(days)})


def deadline(rng: Random) -> dict[str, Any]:
    """One invoice, its terms, the day it is paid. ``due``, ``pay`` and ``currency`` are what the grader compares."""
    invoiced = phrases.a_day(rng)
    currency = phrases.a_currency(rng)
    amount = Decimal(rng.randrange(100, 90_000)) * 10 if currency.digits == 0 else Decimal(rng.randrange(50, 40_000))
    terms = _terms(rng, invoiced)
    due = terms.last_day(invoiced, terms.net)
    early = terms.last_day(invoiced, terms.discount_days)
    paid = rng.choice((early, early + timedelta(1), due, due + timedelta(1), due + timedelta(rng.randrange(2, 40))))
    pay = terms.owed(amount, invoiced, paid).quantize(Decimal(1).scaleb(-currency.digits), ROUND_HALF_UP)
    closed = ", ".join(sorted(day.isoformat() for day in terms.holidays)) or "none"
    question = (
        f"Invoice of {WEEKDAYS[invoiced.weekday()]}, {phrases.long_date(invoiced)}: {currency.code} "
        f"{phrases.grouped(amount)}. Terms: {terms}. A last day on a weekend or holiday moves to the next working "
        f"day. Holidays: {closed}. Paid on {paid.isoformat()}."
    )
    return {
        "messages": [{"role": "developer", "content": SYSTEM}, {"role": "user", "content": question}],
        "due": due.isoformat(),
        "pay": phrases.money(pay, currency),
        "currency": currency.code,
    }
