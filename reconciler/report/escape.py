"""Foreign text made harmless. Names, messages and values come from specs and servers that others write.

Everything that a person will see passes through here, so that no text can move the cursor, reverse the reading
order, forge a line of a report, or mention half a company in a pull request.
"""

from __future__ import annotations

import re

LIMIT = 2_000
"""Characters kept of one text unless told: enough for any honest message, too few to flood a terminal."""

_MARKUP = re.compile(r"[\\`*_\[\]<>&|~{}$^@#!%]|:(?=//|[\w+-]+:)|www(?=\.)|GH(?=-\d)", re.IGNORECASE)
_BLOCK = re.compile(r"[-+=]|\d(?=\d{0,8}[.)])")
"""What makes a list or a heading where a line begins with it."""
_ORDER = re.compile(r"^( *):(?=:[A-Za-z])|#(?=#\w*\[)")
"""What the log of a CI obeys: ``::error::`` where a line begins, ``##[group]`` and ``##vso[x]`` wherever they stand."""
_REFERENCES = frozenset("@#!%&$~:")


def clean(text: str, limit: int = LIMIT) -> str:
    """Return prose on one line: white space becomes single spaces, what cannot be printed its escape (``\\x1b``).

    A text of more than ``limit`` characters is cut, and ends in an ellipsis.
    """
    return exact(" ".join(text[: limit * 8].split()), limit)


def exact(text: str, limit: int = LIMIT) -> str:
    """Return a value on one line, every space kept and a line break shown as ``\\n``; else like :func:`clean`.

    What the log of a CI would obey (``::error::``, ``##[group]``) begins with an escape too.
    """
    kept = text[: limit + 1]
    if not kept.isprintable():
        kept = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in kept)
    kept = _ORDER.sub(lambda order: f"{order[1] or ''}\\x{ord(order[0][-1]):x}", kept)
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def md(text: str, limit: int = LIMIT) -> str:
    """Return prose that markdown shows as it is: no markup, HTML, link, mention or reference comes of it."""
    cleaned = clean(text, limit)
    first = _BLOCK.match(cleaned)
    rest = _MARKUP.sub(_inert, cleaned[1:] if first else cleaned)
    return _entity(first) + rest if first else rest


def code(text: str, limit: int = LIMIT) -> str:
    """Return a value as inline code, safe inside a table too. Hosts look for no mentions in code."""
    return f"<code>{_MARKUP.sub(_entity, exact(text, limit))}</code>"


def _inert(match: re.Match[str]) -> str:
    """An entity is never markup; a zero-width space keeps hosts from linking what an entity decodes to."""
    linked = len(match[0]) > 1 or match[0] in _REFERENCES
    return _entity(match) + ("&#8203;" if linked else "")


def _entity(match: re.Match[str]) -> str:
    return f"&#{ord(match[0])};" if len(match[0]) == 1 else match[0]
