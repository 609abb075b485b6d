"""The exact path through YAML: values with the place of every key and value.

It is taken for a document with a fault or with rarer syntax; see :mod:`reconciler.spec.documents` for the fast one.
Parsing is by events, so that nesting, aliases and size are bounded before any work is done for them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    MappingStartEvent,
    ScalarEvent,
)

from reconciler.errors import Problem, SpecError
from reconciler.spec.documents import MAX_DEPTH, MAX_NODES

UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
"""Characters no value may hold, not even escaped: they would reach terminals, logs and paths."""

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"]),
    **dict.fromkeys(["true", "True", "TRUE"], True),
    **dict.fromkeys(["false", "False", "FALSE"], False),
}
_TAG = "tag:yaml.org,2002:"
_TAGS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "null": (type(None),),
    "seq": (list,),
    "map": (dict,),
}


@dataclass(slots=True)
class Place:
    """Where a value stands, and where what it holds stands. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    values: dict[str | int, Place] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tree:
    """A document's value with its places."""

    value: Any
    place: Place


def parse(text: str, file: str, first_line: int = 1) -> Tree:
    """Parse one document.

    Raises:
        SpecError: with every fault that could be found before parsing had to stop.
    """
    builder = _Builder(file, first_line)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            builder.take(event)
    except MarkedYAMLError as error:
        problem = str(error.problem or error.context)
        ended = "end of stream" in problem or "<stream end>" in problem
        unclosed = ended and "flow node" not in str(error.context)
        mark = error.context_mark if unclosed else error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        builder.fault(
            line, column, "not valid YAML: what opens here is never closed" if unclosed else _in_words(problem)
        )
    except (YAMLError, ValueError) as error:
        builder.fault(0, 0, f"not valid YAML: {str(error).splitlines()[0]}")
    except _Stop:
        pass
    if builder.problems:
        raise SpecError(builder.problems)
    return builder.tree


def plain(text: str) -> Any:  # noqa: ANN401 - any scalar
    """Resolve an unquoted scalar as the core schema of YAML 1.2 does.

    Raises:
        ValueError: for a number that is not finite or has no end.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        if len(text) > 1000:
            raise ValueError("a number with more than 1,000 digits")
        return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if math.isinf(number):
            raise ValueError("a number too large for any setting")
        return number
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("a number must be finite")
    return text


def _in_words(problem: str) -> str:
    if "'\\t'" in problem or "tab character" in problem:
        return "a tab stands here; YAML wants spaces"
    if "cannot start any token" in problem:
        return "not valid YAML: text that starts with this character must be quoted"
    if "mapping values are not allowed" in problem:
        return "not valid YAML: a ':' is out of place; quote the text, or check the indentation"
    if "expected the node content" in problem or "expected <block end>" in problem:
        return "not valid YAML: something is missing or wrongly indented before this"
    return f"not valid YAML: {problem}"


class _Stop(Exception):
    """Nothing after this fault can be trusted."""


@dataclass(slots=True)
class _Frame:
    """A collection that is not closed yet. ``height`` is how many levels it has, itself counted."""

    value: Any
    place: Place
    anchor: str | None
    nodes: int
    key: str | None = None
    height: int = 1


class _Builder:
    """Builds a value from events and keeps account of what it costs."""

    def __init__(self, file: str, first_line: int) -> None:
        self._file = file
        self._offset = first_line
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, Place, int, int] | None] = {}
        self._nodes = 0
        self.problems: list[Problem] = []
        self.tree = Tree(None, Place(file, first_line, 1))

    def fault(self, line: int, column: int, message: str) -> None:
        self.problems.append(Problem(self._file, line + self._offset, column + 1, message))

    def take(self, event: Any) -> None:  # noqa: ANN401 - an event of ruamel.yaml
        mark = event.start_mark
        if isinstance(event, CollectionEndEvent):
            self._close()
        elif isinstance(event, ScalarEvent):
            if self._expects_key():
                self._key(event)
                return
            self._grow(1, 1, mark)
            place = self._place(mark)
            if not event.value and event.style is None:  # nothing stands there, so its key is the nearest thing
                place.line, place.column = self._key_place() or (place.line, place.column)
            value = self._scalar(event)
            if event.anchor:
                self._anchors[event.anchor] = (value, place, 1, 1)
            self._put(value, place)
        elif isinstance(event, (CollectionStartEvent, AliasEvent)):
            if self._expects_key():
                self._stop(mark, "a key must be plain text")
            if isinstance(event, AliasEvent):
                self._alias(event)
            else:
                self._open(event)

    def _expects_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].value, dict) and self._stack[-1].key is None

    def _key_place(self) -> tuple[int, int] | None:
        frame = self._stack[-1] if self._stack else None
        return frame.place.keys[frame.key] if frame and frame.key is not None else None

    def _place(self, mark: Any) -> Place:  # noqa: ANN401
        return Place(self._file, mark.line + self._offset, mark.column + 1)

    def _stop(self, mark: Any, message: str) -> None:  # noqa: ANN401
        self.fault(mark.line, mark.column, message)
        raise _Stop

    def _grow(self, nodes: int, height: int, mark: Any) -> None:  # noqa: ANN401
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            self._stop(mark, f"this document holds more than {MAX_NODES:,} values, aliases followed")
        if len(self._stack) + height > MAX_DEPTH:
            self._stop(mark, f"nested deeper than {MAX_DEPTH} levels")

    def _open(self, event: Any) -> None:  # noqa: ANN401
        value: Any = {} if isinstance(event, MappingStartEvent) else []
        self._tag(event, value)
        self._grow(1, 1, event.start_mark)
        if event.anchor:
            self._anchors[event.anchor] = None
        self._stack.append(_Frame(value, self._place(event.start_mark), event.anchor, self._nodes))

    def _close(self) -> None:
        frame = self._stack.pop()
        if frame.anchor:
            self._anchors[frame.anchor] = (frame.value, frame.place, self._nodes - frame.nodes + 1, frame.height)
        self._put(frame.value, frame.place, frame.height)

    def _alias(self, event: Any) -> None:  # noqa: ANN401
        if event.anchor not in self._anchors:
            self._stop(event.start_mark, f"no anchor '&{event.anchor}' stands before this alias")
        target = self._anchors[event.anchor]
        if target is None:
            self._stop(event.start_mark, f"the alias '*{event.anchor}' stands inside what it refers to")
        else:
            value, place, nodes, height = target
            self._grow(nodes, height, event.start_mark)
            self._put(value, place, height)

    def _key(self, event: Any) -> None:  # noqa: ANN401
        frame, mark = self._stack[-1], event.start_mark
        key = self._scalar(event)
        if key == "<<" and event.style is None:
            self.fault(
                mark.line, mark.column, "merge keys ('<<') are not part of YAML 1.2; repeat the keys, or use an alias"
            )
        elif not isinstance(key, str):
            self.fault(
                mark.line, mark.column, f"the key {event.value or 'null'} is not text; quote it: '{event.value}'"
            )
            key = event.value
        if event.anchor:
            self._anchors[event.anchor] = (key, self._place(mark), 1, 1)
        if key in frame.place.keys:
            line = frame.place.keys[key][0]
            self.fault(mark.line, mark.column, f"the key '{_short(key)}' is given twice; the first is on line {line}")
        frame.key = key
        frame.place.keys[key] = (mark.line + self._offset, mark.column + 1)

    def _scalar(self, event: Any) -> Any:  # noqa: ANN401
        value: Any = _joined(event.value)
        if event.implicit[0] and event.tag is None:
            try:
                value = plain(value)
            except ValueError as error:
                self.fault(event.start_mark.line, event.start_mark.column, str(error))
        elif event.tag and event.tag not in {"!", _TAG + "str"}:
            value = self._tagged(event)
        if isinstance(value, str) and (found := UNPRINTABLE.search(value)):
            name = f"U+{ord(found[0]):04X}"
            self.fault(event.start_mark.line, event.start_mark.column, f"text must not hold the character {name}")
        return value

    def _tagged(self, event: Any) -> Any:  # noqa: ANN401
        try:
            value = plain(event.value)
        except ValueError:
            value = event.value
        self._tag(event, value)
        return value

    def _tag(self, event: Any, value: Any) -> None:  # noqa: ANN401
        tag = str(event.tag) if event.tag else None
        if tag in {None, "!"}:
            return
        types = _TAGS.get(str(tag).removeprefix(_TAG), ()) if str(tag).startswith(_TAG) else ()
        if type(value) not in types:
            shown = str(tag).replace(_TAG, "!!")
            self._stop(event.start_mark, f"the tag '{_short(shown)}' is refused: a spec holds plain values only")

    def _put(self, value: Any, place: Place, height: int = 1) -> None:  # noqa: ANN401
        if not self._stack:
            self.tree = Tree(value, place)
            return
        frame = self._stack[-1]
        frame.height = max(frame.height, height + 1)
        if isinstance(frame.value, list):
            frame.place.values[len(frame.value)] = place
            frame.value.append(value)
        elif frame.key is not None:
            frame.place.values[frame.key] = place
            frame.value[frame.key] = value
            frame.key = None


def _joined(text: str) -> str:
    """Make one character of two escapes, as JSON writes those beyond U+FFFF; half a pair stays as it is."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}..."
