"""What the data is computed from: currencies (ISO 4217), countries (ISO 3166-1), calendar words, exact unit factors."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


def names(text: str) -> tuple[str, ...]:
    """Split a line of words: a table of names reads better without its quotes."""
    return tuple(text.split())


WEEKDAYS = names("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = names("January February March April May June July August September October November December")


@dataclass(frozen=True)
class Currency:
    """``digits`` after the point, the name in the plural, and a sign where it belongs to this currency alone."""

    code: str
    digits: int
    plural: str
    sign: str = ""


CURRENCIES = (
    Currency("EUR", 2, "euros", "€"),
    Currency("USD", 2, "US dollars", "US$"),
    Currency("GBP", 2, "pounds sterling", "£"),
    Currency("CHF", 2, "Swiss francs"),
    Currency("SEK", 2, "Swedish kronor"),
    Currency("NOK", 2, "Norwegian kroner"),
    Currency("DKK", 2, "Danish kroner"),
    Currency("PLN", 2, "Polish zlotys"),
    Currency("INR", 2, "Indian rupees", "₹"),
    Currency("CAD", 2, "Canadian dollars", "CA$"),
    Currency("AUD", 2, "Australian dollars", "A$"),
    Currency("NZD", 2, "New Zealand dollars", "NZ$"),
    Currency("SGD", 2, "Singapore dollars", "S$"),
    Currency("BRL", 2, "Brazilian reais", "R$"),
    Currency("MXN", 2, "Mexican pesos", "MX$"),
    Currency("ZAR", 2, "South African rand"),
    Currency("THB", 2, "Thai baht", "฿"),
    Currency("KES", 2, "Kenyan shillings"),
    Currency("JPY", 0, "Japanese yen"),
    Currency("KRW", 0, "South Korean won", "₩"),
    Currency("ISK", 0, "Icelandic kronur"),
    Currency("CLP", 0, "Chilean pesos"),
    Currency("KWD", 3, "Kuwaiti dinars"),
    Currency("BHD", 3, "Bahraini dinars"),
    Currency("TND", 3, "Tunisian dinars"),
    Currency("JOD", 3, "Jordanian dinars"),
)


@dataclass(frozen=True)
class Country:
    """``name`` as it stands after a preposition, ``adjective`` as it stands before 'branch'."""

    code: str
    name: str
    adjective: str


COUNTRIES = tuple(
    Country(*line.split(", "))
    for line in """\
AR, Argentina, Argentinian
AT, Austria, Austrian
AU, Australia, Australian
BE, Belgium, Belgian
BG, Bulgaria, Bulgarian
BH, Bahrain, Bahraini
BR, Brazil, Brazilian
CA, Canada, Canadian
CH, Switzerland, Swiss
CL, Chile, Chilean
CO, Colombia, Colombian
CZ, Czechia, Czech
DE, Germany, German
DK, Denmark, Danish
EE, Estonia, Estonian
EG, Egypt, Egyptian
ES, Spain, Spanish
FI, Finland, Finnish
FR, France, French
GB, the United Kingdom, British
GH, Ghana, Ghanaian
GR, Greece, Greek
HR, Croatia, Croatian
HU, Hungary, Hungarian
ID, Indonesia, Indonesian
IE, Ireland, Irish
IN, India, Indian
IS, Iceland, Icelandic
IT, Italy, Italian
JO, Jordan, Jordanian
JP, Japan, Japanese
KE, Kenya, Kenyan
KR, South Korea, South Korean
KW, Kuwait, Kuwaiti
LT, Lithuania, Lithuanian
LV, Latvia, Latvian
MA, Morocco, Moroccan
MX, Mexico, Mexican
MY, Malaysia, Malaysian
NL, the Netherlands, Dutch
NO, Norway, Norwegian
NZ, New Zealand, New Zealand
PE, Peru, Peruvian
PL, Poland, Polish
PT, Portugal, Portuguese
RO, Romania, Romanian
RS, Serbia, Serbian
SE, Sweden, Swedish
SI, Slovenia, Slovenian
SK, Slovakia, Slovak
SN, Senegal, Senegalese
TH, Thailand, Thai
TN, Tunisia, Tunisian
UA, Ukraine, Ukrainian
US, the United States, American
UY, Uruguay, Uruguayan
VN, Vietnam, Vietnamese
ZA, South Africa, South African""".splitlines()
)

UNITS: dict[str, dict[str, Fraction]] = {
    si: {name: Fraction(factor) for name, factor in units.items()}
    for si, units in {
        "m": {
            "inches": "0.0254",
            "feet": "0.3048",
            "yards": "0.9144",
            "miles": "1609.344",
            "nautical miles": "1852",
            "kilometres": "1000",
            "centimetres": "0.01",
            "millimetres": "0.001",
            "furlongs": "201.168",
            "fathoms": "1.8288",
        },
        "kg": {
            "pounds": "0.45359237",
            "ounces": "0.028349523125",
            "troy ounces": "0.0311034768",
            "stone": "6.35029318",
            "tonnes": "1000",
            "short tons": "907.18474",
            "long tons": "1016.0469088",
            "grams": "0.001",
            "carats": "0.0002",
        },
        "m3": {
            "litres": "0.001",
            "US gallons": "0.003785411784",
            "imperial gallons": "0.00454609",
            "US pints": "0.000473176473",
            "imperial pints": "0.00056826125",
            "oil barrels": "0.158987294928",
            "cubic feet": "0.028316846592",
            "millilitres": "0.000001",
        },
        "m2": {
            "acres": "4046.8564224",
            "hectares": "10000",
            "square feet": "0.09290304",
            "square miles": "2589988.110336",
            "square kilometres": "1000000",
        },
        "J": {
            "kilowatt hours": "3600000",
            "calories": "4.184",
            "kilocalories": "4184",
            "watt hours": "3600",
        },
        "s": {"minutes": "60", "hours": "3600", "days": "86400", "weeks": "604800", "milliseconds": "0.001"},
        "Pa": {"bar": "100000", "millibar": "100", "standard atmospheres": "101325", "hectopascals": "100"},
    }.items()
}
"""How much of the SI unit one of each is: exact by definition (the international yard and pound, the US and imperial
gallon, the thermochemical calorie, the standard atmosphere)."""
