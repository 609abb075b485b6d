"""The way back: a payment as data becomes a sentence, with the date and the number as each language writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from random import Random
from typing import Any

import phrases
from facts import CURRENCIES, MONTHS, WEEKDAYS, names

SYSTEM = "Confirm the payment in one sentence, in the language and tone given."


@dataclass(frozen=True)
class Language:
    """Words and number format of a language; templates by tone take the amount and the date."""

    weekdays: tuple[str, ...]
    months: tuple[str, ...]
    separator: str
    point: str
    day: str
    tones: dict[str, str]


LANGUAGES = {
    "en": Language(
        WEEKDAYS,
        MONTHS,
        ",",
        ".",
        "{weekday} {day} {month} {year}",
        {
            "brief": "{sum} will be with you by {date}.",
            "formal": "We confirm that {sum} will be paid by {date} at the latest.",
        },
    ),
    "de": Language(
        names("Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag"),
        names("Januar Februar März April Mai Juni Juli August September Oktober November Dezember"),
        ".",
        ",",
        "{weekday}, {day}. {month} {year}",
        {
            "brief": "{sum} sind bis {date} da.",
            "formal": "Wir bestätigen, dass {sum} bis spätestens {date}, gezahlt werden.",
        },
    ),
    "fr": Language(
        names("lundi mardi mercredi jeudi vendredi samedi dimanche"),
        names("janvier février mars avril mai juin juillet août septembre octobre novembre décembre"),
        "\N{NARROW NO-BREAK SPACE}",
        ",",
        "{weekday} {day} {month} {year}",
        {
            "brief": "{sum} seront chez vous au plus tard le {date}.",
            "formal": "Nous confirmons que la somme de {sum} sera payée au plus tard le {date}.",
        },
    ),
    "it": Language(
        names("lunedì martedì mercoledì giovedì venerdì sabato domenica"),
        names("gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre"),
        ".",
        ",",
        "{weekday} {day} {month} {year}",
        {
            "brief": "{sum} in arrivo entro {date}.",
            "formal": "Confermiamo che l'importo di {sum} sarà pagato entro {date}.",
        },
    ),
    "nl": Language(
        names("maandag dinsdag woensdag donderdag vrijdag zaterdag zondag"),
        names("januari februari maart april mei juni juli augustus september oktober november december"),
        ".",
        ",",
        "{weekday} {day} {month} {year}",
        {
            "brief": "{sum} is uiterlijk {date} bij u.",
            "formal": "Wij bevestigen dat {sum} uiterlijk op {date} wordt betaald.",
        },
    ),
    "sv": Language(
        names("måndag tisdag onsdag torsdag fredag lördag söndag"),
        names("januari februari mars april maj juni juli augusti september oktober november december"),
        "\N{NO-BREAK SPACE}",
        ",",
        "{weekday} {day} {month} {year}",
        {
            "brief": "{sum} kommer senast {date}.",
            "formal": "Vi bekräftar att {sum} betalas senast {date}.",
        },
    ),
}


def write_date(language: Language, day: date) -> str:
    """Write a date in full."""
    weekday, month = language.weekdays[day.weekday()], language.months[day.month - 1]
    if day.day == 1 and language is LANGUAGES["fr"]:
        return f"{weekday} 1er {month} {day.year}"
    return language.day.format(weekday=weekday, day=day.day, month=month, year=day.year)


def confirmation(rng: Random) -> dict[str, Any]:
    """One payment as data, one sentence."""
    code = rng.choice(list(LANGUAGES))
    language = LANGUAGES[code]
    tone = rng.choice(list(language.tones))
    day = phrases.a_day(rng)
    currency = rng.choice([c for c in CURRENCIES if c.digits == 2])
    value = Decimal(rng.randrange(2000, 9_000_000)).scaleb(-2)
    asked = {"language": code, "tone": tone, "due": day.isoformat(), "amount": str(value), "currency": currency.code}
    figure = phrases.grouped(value, language.separator, language.point)
    sentence = language.tones[tone].format(
        sum=f"{figure}\N{NO-BREAK SPACE}{currency.code}", date=write_date(language, day)
    )
    return {
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": json.dumps(asked)},
            {"role": "assistant", "content": sentence},
        ]
    }
