"""Messages to an accounts inbox and the payment they ask for: single ones, corrected ones, preferences."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from random import Random
from typing import Any

import phrases
from facts import COUNTRIES, WEEKDAYS, Country, Currency

Row = dict[str, Any]

SYSTEM = (
    "Extract the payment as JSON: due (ISO 8601), amount (plain decimal string), currency (ISO 4217), "
    "country (ISO 3166-1 alpha-2); null where nothing is said."
)

_AMOUNT = (
    "Please settle {}.",
    "The total comes to {}.",
    "Outstanding: {}.",
    "Could you transfer {}?",
    "We agreed on {}.",
    "That makes {} in all.",
    "I make it {} including everything.",
    "The supplier wants {}.",
)
_DUE = (
    "It has to arrive no later than {}.",
    "Kindly pay by {}.",
    "They expect the money by {}.",
    "Deadline: {}.",
    "Pay no later than {}.",
    "It must be booked by {}.",
)
_COUNTRY = (
    "This is for our {a} branch.",
    "The goods went to the warehouse in {n}.",
    "Book it on the {a} entity.",
    "The customer is based in {n}.",
    "It concerns the {a} office.",
    "Delivery was to {n}.",
)
_ASIDES = (
    "Invoice no. {n} is attached.",
    "Our reference: PO-{n}.",
    "The previous one was paid on {day}.",
    "Last time we paid {sum}, this one is separate.",
    "Ignore the reminder of {day}, it crossed your payment.",
    "Our desk is closed on Fridays, ring {small} instead.",
    "Thanks for your patience.",
    "Call me on extension {small} with questions.",
)
_HELLO = ("Hello,", "Hi there,", "Dear colleagues,", "Good morning,", "Hi,", "Dear accounts team,")


@dataclass(frozen=True)
class Payment:
    """What an answer says. None is what the message leaves open."""

    due: date | None
    amount: Decimal | None
    currency: Currency | None
    country: Country | None

    @property
    def answer(self) -> str:
        """The answer wanted, as compact JSON."""
        return json.dumps(
            {
                "due": self.due.isoformat() if self.due else None,
                "amount": phrases.money(self.amount, self.currency) if self.amount and self.currency else None,
                "currency": self.currency.code if self.currency else None,
                "country": self.country.code if self.country else None,
            }
        )


def _aside(rng: Random, sent: date) -> str:
    past = sent - timedelta(rng.randrange(20, 200))
    other = f"{phrases.a_currency(rng).code} {phrases.grouped(Decimal(rng.randrange(100, 9000)))}"
    return rng.choice(_ASIDES).format(
        n=rng.randrange(1000, 99999), day=phrases.long_date(past), sum=other, small=rng.randrange(100, 999)
    )


def _header(sent: date) -> str:
    return f"Received {WEEKDAYS[sent.weekday()]}, {phrases.long_date(sent)}"


def message(rng: Random) -> tuple[str, Payment, date]:
    """Write one message.

    One in three leaves something open, and most hold a fact that must not be taken for the payment.
    """
    sent = phrases.a_day(rng)
    left_out = rng.choice((None, None, None, None, "amount", "due", "country", "country"))
    currency, country = phrases.a_currency(rng), rng.choice(COUNTRIES)
    sum_words, value = phrases.amount(rng, currency)
    due_words, day = phrases.due(rng, sent)
    sentences = {
        "amount": rng.choice(_AMOUNT).format(sum_words),
        "due": rng.choice(_DUE).format(due_words),
        "country": rng.choice(_COUNTRY).format(a=country.adjective, n=country.name),
        "aside": _aside(rng, sent) if rng.random() < 0.7 else None,
    }
    body = [text for part, text in sentences.items() if text and part != left_out]
    rng.shuffle(body)
    payment = Payment(
        due=None if left_out == "due" else day,
        amount=None if left_out == "amount" else value,
        currency=None if left_out == "amount" else currency,
        country=None if left_out == "country" else country,
    )
    return f"{_header(sent)}\n\n{rng.choice(_HELLO)} {' '.join(body)}", payment, sent


def _ask(text: str) -> list[Row]:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]


def _say(text: str) -> Row:
    return {"role": "assistant", "content": text}


def inbox(rng: Random) -> Row:
    """One message, one answer."""
    text, payment, _ = message(rng)
    return {"messages": [*_ask(text), _say(payment.answer)]}


def _corrections(rng: Random, payment: Payment, sent: date) -> list[tuple[str, Payment]]:
    """Return every correction that can follow: its words, and the payment after it."""
    country = rng.choice([c for c in COUNTRIES if c != payment.country])
    due_words, day = phrases.due(rng, sent)
    found = [
        (f"Correction: pay by {due_words}, please.", replace(payment, due=day)),
        (f"Wrong branch, sorry: it is the {country.adjective} one.", replace(payment, country=country)),
    ]
    if payment.due:
        weeks = rng.randrange(1, 5)
        later = replace(payment, due=payment.due + timedelta(weeks=weeks))
        plural = "s" if weeks > 1 else ""
        found += [
            (f"They grant us {phrases.words(weeks)} more week{plural}.", later),
            ("Forget the date, none has been agreed.", replace(payment, due=None)),
        ]
    if payment.amount and payment.currency:
        unit = Decimal(1).scaleb(-payment.currency.digits)
        percent = rng.choice((5, 7, 10, 19, 20, 21, 25))
        with_tax = (payment.amount * (100 + percent) / 100).quantize(unit, ROUND_HALF_UP)
        credit = (payment.amount * rng.randrange(5, 40) / 100).quantize(unit, ROUND_HALF_UP)
        found += [
            (f"{percent} % VAT comes on top of that.", replace(payment, amount=with_tax)),
            (
                f"Deduct our credit note of {payment.currency.code} {phrases.grouped(credit)} from it.",
                replace(payment, amount=payment.amount - credit),
            ),
        ]
    return found


def thread(rng: Random) -> Row:
    """A message, its answer, a correction, the corrected answer. Only the last answer is learned from."""
    text, payment, sent = message(rng)
    correction, corrected = rng.choice(_corrections(rng, payment, sent))
    return {
        "messages": [
            *_ask(text),
            {**_say(payment.answer), "weight": 0},
            {"role": "user", "content": correction},
            _say(corrected.answer),
        ]
    }


def _faults(payment: Payment) -> list[str]:
    """Return the wrong answers that models give before they are taught better, as far as they apply."""
    right = json.loads(payment.answer)
    guessed = {
        "due": "2025-12-31",
        "amount": "0.00",
        "currency": "USD",
        "country": "US",
    }
    faults = [
        f"Sure! Here is the payment:\n```json\n{payment.answer}\n```",
        f"{payment.answer}\n\nLet me know if you need anything else.",
    ]
    if None in right.values():  # guesses instead of leaving open
        faults.append(json.dumps({key: guessed[key] if value is None else value for key, value in right.items()}))
    if payment.due:  # a local date, or a day too late
        faults.append(json.dumps(right | {"due": payment.due.strftime("%m/%d/%Y")}))
        faults.append(json.dumps(right | {"due": (payment.due + timedelta(1)).isoformat()}))
    if payment.amount and payment.currency:  # a sign and separators; off by a factor
        shown = f"{payment.currency.code} {phrases.grouped(payment.amount)}"
        faults.append(json.dumps(right | {"amount": shown}))
        faults.append(json.dumps(right | {"amount": phrases.money(payment.amount * 100, payment.currency)}))
    if payment.country:  # a name where a code belongs
        faults.append(json.dumps(right | {"country": payment.country.name.removeprefix("the ")}))
    return faults


def preference(rng: Random) -> Row:
    """One message, the right answer, and one that must become less likely."""
    text, payment, _ = message(rng)
    return {
        "input": {"messages": _ask(text)},
        "preferred_output": [_say(payment.answer)],
        "non_preferred_output": [_say(rng.choice(_faults(payment)))],
    }
