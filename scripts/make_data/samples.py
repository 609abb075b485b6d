"""Small tasks for the example repositories."""

from __future__ import annotations

from random import Random
from typing import Any

import phrases
from facts import COUNTRIES


def _row(system: str, question: str, answer: str) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "system", "content": system},
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
    }


def week(rng: Random) -> dict[str, Any]:
    """A date and its ISO 8601 week date."""
    day = phrases.a_day(rng)
    year, number, weekday = day.isocalendar()
    return _row("Answer with the ISO 8601 week date only.", phrases.long_date(day), f"{year}-W{number:02}-{weekday}")


def weekday(rng: Random) -> dict[str, Any]:
    """A date and its day of the week."""
    day = phrases.a_day(rng)
    return _row("Answer with the day of the week only.", phrases.long_date(day), f"{day:%A}")


def country(rng: Random) -> dict[str, Any]:
    """A country, in passing, and its code."""
    place = rng.choice(COUNTRIES)
    text = rng.choice(("We ship from {n}.", "Ask the {a} team.", "A customer in {n} called.", "The {a} office agrees."))
    return _row(
        "Answer with the ISO 3166-1 alpha-2 code only.", text.format(n=place.name, a=place.adjective), place.code
    )


def number(rng: Random) -> dict[str, Any]:
    """A number in words, and in digits."""
    value = rng.randrange(10 ** rng.randrange(1, 7))
    return _row("Answer with the number in digits only.", phrases.words(value), str(value))
