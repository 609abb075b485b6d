"""Bytes become YAML 1.2 documents: plain values at once, places when somebody asks.

Nearly every document takes the fast path: a parser in Rust that gives values and refuses duplicate keys. Where that
parser and YAML 1.2 may differ, or where it refuses, the exact path of :mod:`reconciler.spec.places` decides alone.
"""

from __future__ import annotations

import math
import os
import re
import stat
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import ryaml

from reconciler.errors import Problem, SpecError

if TYPE_CHECKING:
    from reconciler.spec.places import Tree

Path = tuple[str | int, ...]

MAX_BYTES = 10_000_000
"""How large one file may be."""
MAX_NODES = 10_000
"""How many values one document may hold, aliases followed."""
MAX_DEPTH = 100
"""How many levels a document may have, aliases followed."""
_MAX_OPEN = 1_000
_USUAL_BYTES = 65_536  # a buffer for the largest file takes longer to get than most files take to parse

_MARKER = re.compile(r"^(?:---|\.\.\.)(?=\s|\Z)", re.MULTILINE)
_NOTHING = re.compile(r"(?:[ \t]*(?:#.*)?(?:\n|\Z))*")
_DIRECTIVE = re.compile(r"(?:[ \t]*(?:#.*)?\n)*%")
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
# A first character that few texts hold lets the search skip nearly all of them; what follows looks back at it.
_DOUBT = re.compile(
    r"""[\t&*!<0-9\\](?:
        (?<=\t)
      | (?<=[&*])(?<![^\s\[{,:?-].)\S | (?<=!)(?<![^\s\[{,:?-].)      # an anchor, an alias, a tag
      | (?<=<)<
      | (?<=0)(?:(?<![^\s\[{,:].) | (?<=[-+].)(?<![^\s\[{,:]..))[0-9b]  # a number with leading zeros,
      | (?<=[-+]0)(?<![^\s\[{,:]..)[xo]                                # or in a notation YAML 1.2 lacks
      | (?<=[0-9])[0-9]{2}(?:(?<=[eE]...) | (?<=[eE]\+...))            # a number that may be too large
      | (?<=[0-9])[0-9]{18}
      | (?<=\\)[^"\\/nt\n ]                                           # an escaped character that may be unprintable
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Document:
    """One document of a file. ``file`` is as the user would name it; ``line`` is where ``text`` begins, from 1."""

    file: str
    line: int
    text: str

    def value(self) -> Any:  # noqa: ANN401 - any YAML value
        """Return the document's value.

        Raises:
            SpecError: for whatever is not plain, bounded YAML 1.2.
        """
        if not _DOUBT.search(self.text):
            try:
                value = ryaml.loads(self.text)  # type: ignore[attr-defined]
            except ValueError:
                pass  # the exact path knows where, or knows better
            else:
                if isinstance(value, (dict, list)) and _is_plain(value):
                    return value
        return self.tree.value

    @cached_property
    def tree(self) -> Tree:
        """The same value with the place of every key and value.

        Raises:
            SpecError: as ``value`` does.
        """
        from reconciler.spec.places import parse  # noqa: PLC0415 - slow to import, and seldom needed

        return parse(self.text, self.file, self.line)

    @property
    def starts(self) -> int:
        """The line of the first key."""
        blank = _NOTHING.match(self.text)
        return self.line + self.text.count("\n", 0, blank.end() if blank else 0)

    def problem(self, path: Path, message: str, *, on_key: bool = False) -> Problem:
        """Make a problem at a value, or at the last key of ``path``; at what would hold it, where it is absent."""
        try:
            place = self.tree.place
        except SpecError as error:
            return error.problems[0]
        for step in path:
            if on_key and step is path[-1] and str(step) in place.keys:
                return Problem(place.file, *place.keys[str(step)], message)
            if step not in place.values:
                break
            place = place.values[step]
        return Problem(place.file, place.line, place.column, message)


def read_bytes(path: str, shown_as: str) -> bytes:
    """Read a regular file.

    Raises:
        FileNotFoundError: there is none.
        SpecError: it cannot be read, is no regular file, or is too large.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SpecError([Problem(shown_as, 0, 0, "is not a regular file")])
            start = file.read(_USUAL_BYTES)
            return start + file.read(MAX_BYTES + 1 - _USUAL_BYTES) if len(start) == _USUAL_BYTES else start
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SpecError([Problem(shown_as, 0, 0, f"cannot be read: {error.strerror}")]) from error


def read(file: str, data: bytes) -> list[Document]:
    """Split a file's bytes into its documents; those that hold nothing are left out.

    Raises:
        SpecError: for a file that is too large, not UTF-8, or holds what no YAML file may.
    """
    text = _decode(file, data)
    documents = []
    start, line = 0, 1
    for marker in [*_MARKER.finditer(text), None]:
        end = marker.start() if marker else len(text)
        part = text[start:end]
        if part.startswith(("---", "...")):
            part = "   " + part[3:]
        if not _NOTHING.fullmatch(part):
            _refuse_depth(file, line, part)
            if found := _DIRECTIVE.match(part):
                at = line + part.count("\n", 0, found.end())
                raise SpecError([Problem(file, at, 1, "YAML directives are refused; remove this line")])
            documents.append(Document(file, line, part))
        line += part.count("\n")
        start = end
    return documents


def _decode(file: str, data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise SpecError([Problem(file, 0, 0, f"is larger than {MAX_BYTES // 1_000_000} MB")])
    if data.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")):
        raise SpecError([Problem(file, 0, 0, "is UTF-16 or UTF-32; save it as UTF-8")])
    try:
        text = data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        place = _place(data[: error.start].decode())
        byte = data[error.start]
        raise SpecError([Problem(file, *place, f"is not UTF-8: byte 0x{byte:02x}; save it as UTF-8")]) from error
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if found := _FORBIDDEN.search(text):
        code = ord(found[0])
        what = "a NUL byte (is it UTF-16?)" if code == 0 else f"the control character U+{code:04X}"
        raise SpecError([Problem(file, *_place(text[: found.start()]), f"holds {what}; a spec is plain text")])
    return text


def _place(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _refuse_depth(file: str, line: int, text: str) -> None:
    """Refuse thousands of unclosed brackets, for which every YAML parser takes quadratic time."""
    if text.count("[") + text.count("{") <= _MAX_OPEN:
        return
    depth = 0
    for bracket in re.finditer(r"[][{}]", text):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > _MAX_OPEN:
            below, column = _place(text[: bracket.start()])
            raise SpecError(
                [Problem(file, line + below - 1, column, f"more than {_MAX_OPEN:,} brackets are open here")]
            )


def _is_plain(value: Any) -> bool:  # noqa: ANN401
    """Whether a value keeps all the rules of the exact path."""
    nodes = 0
    level = [value]
    for _ in range(MAX_DEPTH):
        nodes += len(level)
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                if not all(type(key) is str for key in item):
                    return False
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
            elif isinstance(item, float) and not math.isfinite(item):
                return False
        if not inner:
            return nodes <= MAX_NODES
        level = inner
    return False
