"""The same date or amount, as people write it. Every function returns the words together with what they mean."""

from __future__ import annotations

import calendar
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from random import Random

from facts import CURRENCIES, MONTHS, WEEKDAYS, Currency, names

_ONES = names(
    "zero one two three four five six seven eight nine ten"
    " eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
)
_TENS = names("_ _ twenty thirty forty fifty sixty seventy eighty ninety")
_ORDINALS = names("first second third fourth")

Due = Callable[[Random, date], tuple[str, date]]


def words(number: int) -> str:
    """Write a number below a million in words, the British way."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")
    unit, name = (1000, "thousand") if number >= 1000 else (100, "hundred")
    head, rest = divmod(number, unit)
    joint = " and " if rest < 100 else " "
    return f"{words(head)} {name}" + (joint + words(rest) if rest else "")


def a_day(rng: Random) -> date:
    """Choose a day of 2025 or 2026."""
    return date(2025, 1, 1) + timedelta(rng.randrange(730))


def month_end(day: date, later: int = 0) -> date:
    """Return the last day of the month that lies ``later`` months after that of ``day``."""
    year, month = divmod(day.year * 12 + day.month - 1 + later, 12)
    return date(year, month + 1, calendar.monthrange(year, month + 1)[1])


def long_date(day: date) -> str:
    """Write a date as '14 March 2026'."""
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def _written(rng: Random, sent: date) -> tuple[str, date]:
    day = sent + timedelta(rng.randrange(3, 120))
    month = MONTHS[day.month - 1]
    forms = [
        day.isoformat(),
        long_date(day),
        f"{month} {day.day}, {day.year}",
        f"{day.day:02}.{day.month:02}.{day.year}",
        f"{WEEKDAYS[day.weekday()][:3]} {day.day} {month[:3]} {day.year}",
    ]
    if day.day > 12:  # with slashes, only such a day tells its order
        forms += [f"{day.day}/{day.month:02}/{day.year}", f"{day.month:02}/{day.day}/{day.year}"]
    return rng.choice(forms), day


def _without_year(rng: Random, sent: date) -> tuple[str, date]:
    day = sent + timedelta(rng.randrange(3, 300))
    return f"{day.day} {MONTHS[day.month - 1]}", day


def _in_days(rng: Random, sent: date) -> tuple[str, date]:
    days = rng.randrange(3, 31)
    return f"{words(days)} days from today", sent + timedelta(days)


def _in_weeks(rng: Random, sent: date) -> tuple[str, date]:
    weeks = rng.randrange(2, 9)
    return f"{words(weeks)} weeks from today", sent + timedelta(weeks=weeks)


def _soon(rng: Random, sent: date) -> tuple[str, date]:
    text, days = rng.choice([("tomorrow", 1), ("the day after tomorrow", 2), ("a week from tomorrow", 8)])
    return text, sent + timedelta(days)


def _coming_weekday(rng: Random, sent: date) -> tuple[str, date]:
    day = sent + timedelta(rng.randrange(1, 8))
    return f"this coming {WEEKDAYS[day.weekday()]}", day


def _weekday_next_week(rng: Random, sent: date) -> tuple[str, date]:
    day = sent + timedelta(7 - sent.weekday() + rng.randrange(7))
    return f"{WEEKDAYS[day.weekday()]} of next week", day


def _month_edge(rng: Random, sent: date) -> tuple[str, date]:
    return rng.choice(
        [
            ("the end of this month", month_end(sent)),
            ("the end of next month", month_end(sent, 1)),
            ("the first of next month", month_end(sent) + timedelta(1)),
            ("the fifteenth of next month", month_end(sent) + timedelta(15)),
        ]
    )


def _nth_weekday(rng: Random, sent: date) -> tuple[str, date]:
    month_start = month_end(sent, rng.randrange(11)) + timedelta(1)
    weekday, nth = rng.randrange(7), rng.randrange(5)
    first = month_start + timedelta((weekday - month_start.weekday()) % 7)
    which = f"{WEEKDAYS[weekday]} of {MONTHS[month_start.month - 1]}"
    if nth < 4:
        return f"the {_ORDINALS[nth]} {which}", first + timedelta(weeks=nth)
    end = month_end(month_start)
    return f"the last {which}", end - timedelta((end.weekday() - weekday) % 7)


def _quarter_end(rng: Random, sent: date) -> tuple[str, date]:
    quarter = rng.randrange(4)
    end = month_end(date(sent.year, 3 * quarter + 3, 1))
    return f"the end of the {_ORDINALS[quarter]} quarter", end if end > sent else month_end(end, 12)


_DUE: tuple[Due, ...] = (
    _written,
    _written,
    _without_year,
    _in_days,
    _in_weeks,
    _soon,
    _coming_weekday,
    _weekday_next_week,
    _month_edge,
    _nth_weekday,
    _quarter_end,
)


def due(rng: Random, sent: date) -> tuple[str, date]:
    """Choose a day after ``sent`` and words for it that read well after 'by'."""
    return rng.choice(_DUE)(rng, sent)


def grouped(value: Decimal, separator: str = ",", point: str = ".") -> str:
    """Write a number with its thousands set apart."""
    return f"{value:,}".translate({ord(","): separator, ord("."): point})


def money(value: Decimal, currency: Currency) -> str:
    """Write an amount as an answer does: plain digits, as many after the point as the currency has."""
    return f"{value:.{currency.digits}f}"


def a_currency(rng: Random) -> Currency:
    """Choose a currency."""
    return rng.choice(CURRENCIES)


def amount(rng: Random, currency: Currency) -> tuple[str, Decimal]:
    """Choose an amount and words for it.

    A lone separator before three digits would be read as thousands or as a fraction; such forms are left out.
    """
    kind = rng.choice(("exact", "exact", "exact", "round", "words"))
    if kind == "words":
        whole = rng.choice((rng.randrange(11, 100), rng.randrange(2, 99) * 50, rng.randrange(100, 10000)))
        return f"{words(whole)} {currency.plural}", Decimal(whole)
    if kind == "round":
        thousands = Decimal(rng.randrange(11, 999)) / 10
        return f"{currency.code} {thousands.normalize():f}k", thousands * 1000
    value = Decimal(rng.randrange(2000, 9_000_000)).scaleb(-currency.digits)
    figures = [grouped(value)]
    if currency.digits == 2:
        figures += [str(value), grouped(value, ".", ","), grouped(value, "\N{NO-BREAK SPACE}", ".")]
    figure = rng.choice(figures)
    forms = [f"{currency.code} {figure}", f"{figure} {currency.code}", f"{figure} {currency.plural}"]
    return rng.choice(forms + [f"{currency.sign}{figure}"] * bool(currency.sign)), value
