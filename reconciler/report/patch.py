"""What an edit changes in a file: a unified diff, for people in colour, for programs as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import unified_diff
from pathlib import Path

from reconciler.report.escape import exact
from reconciler.report.style import Span, paint

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_STYLES = {"---": "title", "+++": "title", "@": "calm", "+": "good", "-": "bad"}


def unified(file: str, before: str, after: str) -> str:
    """Return a diff that ``git apply`` and ``patch -p1`` take; empty where nothing differs."""
    path = file if Path(file).is_absolute() else f"/{Path(file).as_posix()}"
    old, new = _quoted(f"a{path}"), _quoted(f"b{path}")
    lines = unified_diff(_LINE.findall(before), _LINE.findall(after), old, new)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _quoted(path: str) -> str:
    """Return a path as git writes it: one that could end the line or be misread is a C string."""
    if path.isprintable() and not set(path) & {'"', "\\"}:
        return path
    return '"' + "".join(map(_character, path.encode(errors="surrogateescape"))) + '"'


def _character(byte: int) -> str:
    plain = " " <= chr(byte) <= "~" and chr(byte) not in '"\\'
    return chr(byte) if plain else f"\\{byte:03o}"


def render_patch(diff: str, *, color: bool) -> str:
    """Render a diff for reading: what a file could do to a terminal is shown, not done."""
    return "".join(paint([span], color=color) + "\n" for span in _spans(diff))


def _spans(diff: str) -> Iterator[Span]:
    for line in diff.split("\n")[:-1]:
        style = next((style for start, style in _STYLES.items() if line.startswith(start)), "")
        yield exact(line.removesuffix("\r")), style
