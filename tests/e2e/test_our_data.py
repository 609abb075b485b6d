"""The training data in ``specs/`` and ``examples/``: made anew to the same bytes, well formed, and right."""

from __future__ import annotations

import calendar
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from babel.dates import format_date
from babel.numbers import format_decimal, get_currency_precision
from message_reader import amounts, countries, due_days, number, only, read

from reconciler.api.types import MethodType
from reconciler.api.types.rows import check_rows

Row = dict[str, Any]

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("specs/data/*.jsonl", "examples/*/specs/data/*.jsonl", "examples/*/held-out.jsonl")
    for path in ROOT.glob(pattern)
)
METHODS: dict[str, MethodType] = {
    "strict": "dpo",
    "deadlines": "reinforcement",
    "nobody": "dpo",
    "plain-words": "reinforcement",
}


def rows(name: str) -> list[Row]:
    return [json.loads(line) for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]


def both(task: str) -> Iterator[Row]:
    """Yield a task's rows, those for training and those for validation."""
    for part in ("train", "valid"):
        yield from rows(f"specs/data/{task}.{part}.jsonl")


def asked(row: Row) -> str:
    messages = row["input"]["messages"] if "input" in row else row["messages"]
    return "\n".join(message["content"] for message in messages if message["role"] == "user")


def turns(row: Row) -> tuple[str, Any]:
    """Return the question of a row with one answer, and that answer, read as JSON."""
    _, user, assistant = row["messages"]
    return user["content"], json.loads(assistant["content"])


def test_the_scripts_write_the_same_bytes_again(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "make_data", tmp_path], check=True, timeout=60)
    made = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.jsonl"))
    assert made == FILES
    assert [name for name in made if (tmp_path / name).read_bytes() != (ROOT / name).read_bytes()] == []


@pytest.mark.parametrize("name", FILES)
def test_a_file_holds_enough_good_rows_and_none_twice(name: str) -> None:
    task, *_ = Path(name).name.split(".")
    least = 10 if name.startswith("examples") else 40 if ".valid." in name else 200
    with (ROOT / name).open("rb") as lines:
        summary = check_rows(METHODS.get(task, "supervised"), lines, minimum=least)
    assert len({asked(row) for row in rows(name)}) == summary.rows


def test_the_data_is_small_enough_for_git() -> None:
    sizes = {name: (ROOT / name).stat().st_size for name in FILES}
    assert max(sizes.values()) < 150_000
    assert sum(sizes.values()) < 1_000_000


@pytest.mark.parametrize("train", [name for name in FILES if ".train." in name])
def test_nothing_that_validates_is_trained_on(train: str) -> None:
    valid = train.replace(".train.", ".valid.")
    assert {asked(row) for row in rows(train)}.isdisjoint(asked(row) for row in rows(valid))


def test_payments_are_read_from_their_messages() -> None:
    for row in both("inbox"):
        text, answer = turns(row)
        assert read(text)[0] == answer, text


def test_the_preferred_answer_is_right_and_the_other_is_not() -> None:
    for row in both("strict"):
        right = read(asked(row))[0]
        preferred, other = (row[key][0]["content"] for key in ("preferred_output", "non_preferred_output"))
        assert json.loads(preferred) == right
        try:
            assert json.loads(other) != right
        except json.JSONDecodeError:
            assert preferred in other  # words around it


def test_corrected_payments_follow_their_corrections() -> None:
    for row in both("threads"):
        _, user, first, correction, last = row["messages"]
        before, sent = read(user["content"])
        assert json.loads(first["content"]) == before
        assert first["weight"] == 0
        assert json.loads(last["content"]) == before | corrected(correction["content"], before, sent)


def corrected(text: str, before: dict[str, str | None], sent: date) -> dict[str, str | None]:
    """Return what a correction changes."""
    if "Forget the date" in text:
        return {"due": None}
    if weeks := re.search(r"grant us (.+) more week", text):
        assert before["due"]
        return {"due": str(date.fromisoformat(before["due"]) + timedelta(7 * number(weeks[1])))}
    if "Wrong branch" in text:
        return {"country": only(countries(text))}
    if text.startswith("Correction"):
        return {"due": str(only(due_days(text, sent)))}
    assert before["amount"]
    assert before["currency"]
    old = Decimal(before["amount"])
    if tax := re.match(r"(\d+) % VAT comes on top", text):
        return {"amount": rounded(old + old / 100 * int(tax[1]), before["currency"])}
    credit = only(amounts(text.partition("credit note of ")[2]))
    assert credit
    assert credit[1] == before["currency"]
    return {"amount": rounded(old - Decimal(credit[0]), credit[1])}


def rounded(value: Decimal, currency: str) -> str:
    return str(value.quantize(Decimal(1).scaleb(-get_currency_precision(currency)), ROUND_HALF_UP))


TERMS = re.compile(
    r"Invoice of (?P<weekday>\w+), (?P<day>\d+ \w+ \d+): (?P<currency>\w+) (?P<amount>[\d,]+)\. "
    r"Terms: net (?P<net>\d+) days from the (?P<start>end|invoice).*?"
    r"(?:; (?P<discount>[\d.]+) % discount if paid within (?P<within>\d+) days.*?)?"
    r"(?:; (?P<interest>[\d.]+) % simple interest.*?)?"
    r"\. A last day .*Holidays: (?P<holidays>.*)\. Paid on (?P<paid>[\d-]+)\."
)


def test_deadlines_follow_from_their_terms() -> None:
    for row in both("deadlines"):
        terms = TERMS.fullmatch(asked(row))
        assert terms, asked(row)
        paid, due = date.fromisoformat(terms["paid"]), last_day(terms, int(terms["net"]))
        share = Decimal(100)
        if terms["discount"] and paid <= last_day(terms, int(terms["within"])):
            share -= Decimal(terms["discount"])
        elif paid > due:
            share += Decimal(terms["interest"] or 0) * (paid - due).days
        pay = Decimal(terms["amount"].replace(",", "")) * share / 100
        expected = {"due": str(due), "pay": rounded(pay, terms["currency"]), "currency": terms["currency"]}
        assert {key: row[key] for key in expected} == expected, asked(row)


def last_day(terms: re.Match[str], days: int) -> date:
    """Walk from the invoice day by day, as one would with a calendar in hand."""
    day = only(due_days(terms["day"], date.min))
    assert day
    assert f"{day:%A}" == terms["weekday"]
    while terms["start"] == "end" and (day + timedelta(1)).day != 1:
        day += timedelta(1)
    for _ in range(days):
        day += timedelta(1)
    while day.isoweekday() in {6, 7} or str(day) in terms["holidays"]:
        day += timedelta(1)
    return day


_INCH, _POUND, _GRAIN, _CALORIE = (
    Fraction("0.0254"),
    Fraction("0.45359237"),
    Fraction("0.00006479891"),
    Fraction("4.184"),
)
_FOOT, _GALLON, _LITRE, _IMPERIAL = 12 * _INCH, 231 * _INCH**3, Fraction("0.001"), Fraction("0.00454609")
_YARD, _ACRE, _KILO, _HOUR = 3 * _FOOT, 43_560 * _FOOT**2, Fraction(1000), Fraction(3600)
UNITS: dict[str, dict[str, Fraction]] = {  # each from its definition by other units
    "m": {"inches": _INCH, "feet": _FOOT, "yards": _YARD, "miles": 1760 * _YARD, "nautical miles": Fraction(1852)}
    | {"furlongs": 220 * _YARD, "fathoms": 2 * _YARD}
    | {"kilometres": _KILO, "centimetres": 10 / _KILO, "millimetres": 1 / _KILO},
    "kg": {"pounds": _POUND, "ounces": _POUND / 16, "stone": 14 * _POUND, "troy ounces": 480 * _GRAIN}
    | {"short tons": 2000 * _POUND, "long tons": 2240 * _POUND, "tonnes": _KILO}
    | {"grams": 1 / _KILO, "carats": 1 / (5 * _KILO)},
    "m3": {"litres": _LITRE, "millilitres": _LITRE / 1000, "cubic feet": _FOOT**3}
    | {"US gallons": _GALLON, "US pints": _GALLON / 8, "oil barrels": 42 * _GALLON}
    | {"imperial gallons": _IMPERIAL, "imperial pints": _IMPERIAL / 8},
    "m2": {"acres": _ACRE, "square miles": 640 * _ACRE, "square feet": _FOOT**2}
    | {"hectares": 10 * _KILO, "square kilometres": _KILO**2},
    "J": {"kilowatt hours": _KILO * _HOUR, "watt hours": _HOUR, "calories": _CALORIE, "kilocalories": _KILO * _CALORIE},
    "s": {"minutes": _HOUR / 60, "hours": _HOUR, "days": 24 * _HOUR, "weeks": 168 * _HOUR, "milliseconds": 1 / _KILO},
    "Pa": {"bar": 100 * _KILO, "millibar": _KILO / 10, "hectopascals": _KILO / 10}
    | {"standard atmospheres": Fraction(101_325)},
    "m/s": {"km/h": _KILO / _HOUR, "knots": 1852 / _HOUR},
}
FACTORS = {name: (factor, si) for si, units in UNITS.items() for name, factor in units.items()}


def test_quantities_are_converted_exactly() -> None:
    for row in both("units"):
        text, answer = turns(row)
        figure, unit = re.findall(r"(-?[\d.]+) ((?:°[CF])|ft|[A-Za-z/]+(?: [a-z]+)*)", text.removesuffix(" to SI"))[0]
        value = Fraction(figure)
        if unit == "ft":
            expected = (value * 12 + int(re.findall(r"(\d+) in\b", text)[0])) * _INCH, "m"
        elif unit in {"°C", "°F"}:
            expected = (value if unit == "°C" else (value - 32) * 5 / 9) + Fraction("273.15"), "K"
        else:
            factor, si = FACTORS[unit]
            expected = value * factor, si
        assert (Fraction(answer["value"]), answer["unit"]) == expected, text
        assert re.fullmatch(r"-?\d+(\.\d*[1-9])?", answer["value"])


def test_confirmations_write_dates_and_numbers_as_their_language_does() -> None:
    for row in both("confirm"):
        _, user, assistant = row["messages"]
        payment = json.loads(user["content"])
        locale = {"en": "en_GB"}.get(payment["language"], payment["language"])
        day = format_date(date.fromisoformat(payment["due"]), "full", locale)
        figure = format_decimal(Decimal(payment["amount"]), "#,##0.00", locale)
        sentence = assistant["content"].replace(" 1er ", " 1 ")
        assert f"{figure}\N{NO-BREAK SPACE}{payment['currency']}" in sentence
        assert (day.replace(",", "") if locale == "en_GB" else day) in sentence


def test_the_examples_answer_right() -> None:
    for row in rows("examples/minimal/specs/data/weeks.jsonl"):
        text, answer = row["messages"][1]["content"], row["messages"][2]["content"]
        assert date.fromisoformat(answer) == only(due_days(text, date.min))
    for row in rows("examples/environments/specs/data/countries.jsonl"):
        assert row["messages"][2]["content"] == only(countries(asked(row)))
    for part in ("train", "valid"):
        for row in rows(f"examples/github/specs/data/weekdays.{part}.jsonl"):
            day = only(due_days(asked(row), date.min))
            assert day is not None
            assert row["messages"][2]["content"] == calendar.day_name[day.weekday()]
        for row in rows(f"examples/self-hosted/specs/data/numbers.{part}.jsonl"):
            assert str(number(asked(row))) == row["messages"][2]["content"]
