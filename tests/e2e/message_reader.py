"""Reads the messages of our training data anew, by search where their maker computes, and with Unicode's own tables.

Nothing here is shared with the scripts that write the data, so that both being wrong alike is unlikely.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from babel import Locale
from babel.numbers import get_currency_name, get_currency_precision, list_currencies

Answer = dict[str, str | None]
Days = Callable[[date], bool]
T = TypeVar("T")

_WEEKDAYS = [datetime(2024, 1, day).strftime("%A") for day in range(1, 8)]  # 2024 began on a Monday
_MONTHS = [datetime(2024, month, 1).strftime("%B") for month in range(1, 13)]
_ORDINALS = ["first", "second", "third", "fourth"]
_ASIDE = re.compile(r"attached|reference|previous one|Last time|reminder|\bring\b|patience|extension")
_TERRITORIES: dict[str, str] = {
    code: name for code, name in Locale("en").territories.items() if re.fullmatch("[A-Z]{2}", code)
}
_ADJECTIVES = {"French": "FR", "Greek": "GR", "Danish": "DK", "Irish": "IE", "Dutch": "NL"}
_ADJECTIVES |= {"British": "GB", "American": "US"}
_CURRENCIES = {get_currency_name(code, 2, "en"): code for code in list_currencies()}
_CURRENCIES |= {"pounds sterling": "GBP", "Brazilian reais": "BRL", "Icelandic kronur": "ISK"}
_SIGNS = {"€": "EUR", "US$": "USD", "£": "GBP", "₹": "INR", "CA$": "CAD", "A$": "AUD", "NZ$": "NZD", "S$": "SGD"}
_SIGNS |= {"R$": "BRL", "MX$": "MXN", "฿": "THB", "₩": "KRW"}


def read(text: str) -> tuple[Answer, date]:
    """Return what a message asks for, and the day it came."""
    header, body = text.split("\n\n")
    received = datetime.strptime(header, "Received %A, %d %B %Y")
    assert header.split()[1] == f"{received:%A},"
    sent = received.date()
    sentences = [s for s in re.split(r"(?<=[.?]) (?=[A-Z])", body) if not _ASIDE.search(s)]
    asked = " ".join(sentences)
    due, sums = only(due_days(asked, sent)), only(amounts(asked))
    return {
        "due": due.isoformat() if due else None,
        "amount": sums[0] if sums else None,
        "currency": sums[1] if sums else None,
        "country": only(countries(asked)),
    }, sent


def only(found: Iterator[T]) -> T | None:
    """Return the one thing found, None where there is none."""
    values = set(found)
    assert len(values) <= 1, values
    return values.pop() if values else None


def _counted(text: str, numbers: range) -> dict[str, int]:
    return dict(zip(text.split(), numbers, strict=True))


_NUMBERS = {
    **_counted("zero one two three four five six seven eight nine ten eleven twelve", range(13)),
    **_counted("thirteen fourteen fifteen sixteen seventeen eighteen nineteen", range(13, 20)),
    **_counted("twenty thirty forty fifty sixty seventy eighty ninety", range(20, 100, 10)),
}

_NUMERALS = [*_NUMBERS, "hundred", "thousand", "and"]


def number(text: str) -> int:
    """Read a number in words."""
    total = part = 0
    for word in re.findall(r"[a-z]+", text):
        if word == "thousand":
            total, part = total + part * 1000, 0
        elif word == "hundred":
            part *= 100
        elif word != "and":
            part += _NUMBERS[word]
    return total + part


def _first(sent: date, holds: Days) -> date:
    return next(day for day in (sent + timedelta(n) for n in range(1, 500)) if holds(day))


def _last_of_month(day: date) -> bool:
    return (day + timedelta(1)).day == 1


def _edge(text: str, sent: date) -> date:
    """Read 'the end of this month' and its like: the first day that fits, from today on."""
    which: dict[str, Days] = {"end": _last_of_month, "first": lambda d: d.day == 1, "fifteenth": lambda d: d.day == 15}
    edge, month = re.findall(r"end|first|fifteenth|this|next", text)
    fits = which[edge]
    yesterday = sent - timedelta(1)
    return _first(yesterday, lambda d: fits(d) and (d.month == sent.month) == (month == "this"))


def _nth(match: re.Match[str], sent: date) -> date:
    nth, weekday, month = match["nth"], _WEEKDAYS.index(match["nthday"]), _MONTHS.index(match["nthmonth"]) + 1
    place = [*_ORDINALS, "last"].index(nth)

    def holds(day: date) -> bool:
        in_place = (day + timedelta(7)).month != month if nth == "last" else (day.day - 1) // 7 == place
        return day.month == month and day.weekday() == weekday and in_place

    return _first(sent, holds)


_WEEKDAY, _MONTH = "|".join(_WEEKDAYS), "|".join(_MONTHS)
_DUE = re.compile(
    rf"""(?P<written>\d{{4}}-\d\d-\d\d|\d\d\.\d\d\.\d{{4}}|\d\d/\d\d/\d{{4}}|(?:{_MONTH})\ \d+,\ \d{{4}}
        |[A-Z][a-z][a-z]\ \d+\ [A-Z][a-z][a-z]\ \d{{4}}|\d+\ (?:{_MONTH})\ \d{{4}})
    |(?P<yearless>\d+\ (?:{_MONTH}))(?!\ \d)
    |(?P<count>[a-z-]+)\ (?P<unit>days|weeks)\ from\ today
    |(?P<soon>the\ day\ after\ tomorrow|a\ week\ from\ tomorrow|tomorrow)
    |this\ coming\ (?P<coming>{_WEEKDAY})
    |(?P<next>{_WEEKDAY})\ of\ next\ week
    |(?P<edge>the\ (?:end|first|fifteenth)\ of\ (?:this|next)\ month)
    |the\ (?P<nth>\w+)\ (?P<nthday>{_WEEKDAY})\ of\ (?P<nthmonth>{_MONTH})
    |the\ end\ of\ the\ (?P<quarter>\w+)\ quarter""",
    re.VERBOSE,
)
_FORMATS = ("%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%B %d, %Y", "%a %d %b %Y", "%d %B %Y")


def _written(text: str) -> date:
    found = set()
    for form in _FORMATS:
        try:
            found.add(datetime.strptime(text, form).date())
        except ValueError:
            continue
    (day,) = found
    assert text[0].isdigit() or text.startswith((f"{day:%B} ", f"{day:%a} "))
    return day


def due_days(text: str, sent: date) -> Iterator[date]:
    """Yield the day that each phrase for one means."""
    reading: dict[str, Callable[[re.Match[str]], date]] = {
        "written": lambda m: _written(m["written"]),
        "yearless": lambda m: _first(sent, lambda d: f"{d.day} {d:%B}" == m["yearless"]),
        "unit": lambda m: sent + timedelta(number(m["count"]) * (7 if m["unit"] == "weeks" else 1)),
        "soon": lambda m: sent + timedelta(1 + m["soon"].count("after") + 7 * m["soon"].count("week")),
        "coming": lambda m: _first(sent, lambda d: f"{d:%A}" == m["coming"]),
        "next": lambda m: _first(
            sent, lambda d: f"{d:%A}" == m["next"] and d.isocalendar()[1] != sent.isocalendar()[1]
        ),
        "edge": lambda m: _edge(m["edge"], sent),
        "nthmonth": lambda m: _nth(m, sent),
        "quarter": lambda m: _first(
            sent, lambda d: _last_of_month(d) and d.month == 3 * (1 + _ORDINALS.index(m["quarter"]))
        ),
    }
    for match in _DUE.finditer(text):
        assert match.lastgroup
        yield reading[match.lastgroup](match)


_FIGURE = r"\d[\d.,\xa0]*\d"
_SUM = re.compile(
    rf"""\b(?P<kcode>[A-Z]{{3}})\ (?P<k>[\d.]+)k
    |\b(?P<code>[A-Z]{{3}})\ (?P<fig>{_FIGURE})
    |(?P<sign>{"|".join(map(re.escape, sorted(_SIGNS, key=len, reverse=True)))})(?P<sfig>{_FIGURE})
    |(?P<cfig>{_FIGURE})\ (?P<after>[A-Z]{{3}})\b
    |(?P<nfig>{_FIGURE})\ (?P<name>{"|".join(map(re.escape, _CURRENCIES))})
    |(?P<words>(?:\b(?:{"|".join(_NUMERALS)})[\ -])+)(?P<wname>{"|".join(map(re.escape, _CURRENCIES))})""",
    re.VERBOSE,
)


def _figure(text: str, digits: int) -> Decimal:
    """Read digits with separators: a last group of three is a fraction only where the currency has three digits."""
    *head, tail = re.split(r"[.,\xa0]", text)
    marks = set(re.findall(r"[.,\xa0]", text))
    is_fraction = bool(head) and len(tail) == digits and (digits != 3 or len(marks) == 2 or "." in marks)
    return Decimal("".join(head) + "." + tail) if is_fraction else Decimal("".join([*head, tail]))


def amounts(text: str) -> Iterator[tuple[str, str]]:
    """Yield every sum of money: an amount with the currency's digits, and its code."""
    for m in _SUM.finditer(text):
        name = m["name"] or m["wname"]
        code = m["kcode"] or m["code"] or m["after"] or (_SIGNS[m["sign"]] if m["sign"] else _CURRENCIES[name])
        digits = get_currency_precision(code)
        figure = m["fig"] or m["sfig"] or m["cfig"] or m["nfig"]
        if m["words"]:
            value = Decimal(number(m["words"]))
        else:
            value = Decimal(m["k"]) * 1000 if m["k"] else _figure(figure, digits)
        yield f"{value:.{digits}f}", code


def _most_alike(adjective: str) -> str:
    """Return the code of the country whose name has most letters in common with an adjective, from the first on."""
    stems = (adjective[:length] for length in range(len(adjective), 0, -1))
    return next(code for stem in stems for code, name in _TERRITORIES.items() if name.startswith(stem))


def countries(text: str) -> Iterator[str]:
    """Yield the code of every country meant, by its name or by an adjective."""
    for match in re.finditer(r"(?:[Tt]he|our) ([A-Z][A-Za-z ]+?) (?:branch|entity|office|team|one)\b", text):
        adjective = match[1]
        yield _ADJECTIVES.get(adjective) or _most_alike(adjective)
    for match in re.finditer(r"(?:in|Delivery was to|ship from) (?:the )?([A-Z][A-Za-z ]+?)(?:\.| called)", text):
        yield next(code for code, name in _TERRITORIES.items() if name == match[1])
