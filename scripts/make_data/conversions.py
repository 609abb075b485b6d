"""Quantities in the units people use, and in SI: exact, without rounding."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Any

from facts import UNITS

SYSTEM = 'Convert to the SI unit, exactly, without rounding. Answer with JSON only: {"value": "...", "unit": "..."}.'
_ASK = (
    "{} to SI",
    "How much is {}?",
    "Convert {}.",
    "The data sheet says {}.",
    "{}, please",
    "We measured {}.",
)


def exact(value: Fraction) -> str:
    """Write a fraction as a plain decimal.

    Raises:
        ValueError: it has no finite one.
    """
    digits = 0
    while value.denominator != 1:
        value, digits = value * 10, digits + 1
        if digits > 20:
            raise ValueError("no finite decimal")
    return f"{Decimal(int(value)).scaleb(-digits):f}"


def _degrees(rng: Random) -> tuple[str, Fraction, str]:
    if rng.random() < 0.5:
        celsius = Fraction(rng.randrange(-500, 5000), 10)
        return f"{exact(celsius)} °C", celsius + Fraction("273.15"), "K"
    ninth = rng.randrange(-20, 120)
    return f"{32 + 9 * ninth} °F", 5 * ninth + Fraction("273.15"), "K"


def _speed(rng: Random) -> tuple[str, Fraction, str]:
    if rng.random() < 0.5:
        kmh = 9 * rng.randrange(1, 60)
        return f"{kmh} km/h", Fraction(kmh * 5, 18), "m/s"
    knots = 9 * rng.randrange(1, 40)
    return f"{knots} knots", Fraction(knots * 1852, 3600), "m/s"


def _height(rng: Random) -> tuple[str, Fraction, str]:
    feet, inches = rng.randrange(3, 60), rng.randrange(1, 12)
    return f"{feet} ft {inches} in", (feet * 12 + inches) * Fraction("0.0254"), "m"


def _plain(rng: Random) -> tuple[str, Fraction, str]:
    si = rng.choice(list(UNITS))
    name, factor = rng.choice(list(UNITS[si].items()))
    value = rng.choice((Fraction(rng.randrange(2, 400)), Fraction(rng.randrange(11, 999), 10)))
    return f"{exact(value)} {name}", value * factor, si


def conversion(rng: Random) -> dict[str, Any]:
    """One quantity, converted."""
    text, value, unit = rng.choice((_degrees, _speed, _height, _plain, _plain, _plain, _plain))(rng)
    answer = json.dumps({"value": exact(value), "unit": unit})
    return {
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": rng.choice(_ASK).format(text)},
            {"role": "assistant", "content": answer},
        ]
    }
