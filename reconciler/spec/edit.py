"""A spec's ``state``, changed where it is written: every other byte of the file stays. Pure.

Files are spliced, not written anew, so comments, order, quotes and line ends are kept by construction; the result is
read again, and refused unless that one state is all that changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, ScalarEvent

from reconciler.errors import Problem, SpecError
from reconciler.spec import documents
from reconciler.spec.desired import State
from reconciler.spec.documents import Document

_BOM = "\ufeff"
_BREAK = re.compile(r"\r\n|\r|\n")
_GAP = re.compile(r"[ \t]*:[ \t]*")
_REST_OF_ENTRY = re.compile(r"[ \t]*,[ \t]*(?:[ \t]#[^\r\n]*)?(\r\n|\r|\n)")


def set_state(data: bytes, name: str, state: State, file: str) -> bytes:
    """Return a spec file with the state of one of its specs set; ``name`` is as written, before any matrix.

    A state that comes through an alias becomes a plain word: what the anchor stands for is not touched. One that is
    not written, and so ``running``, is added beside the name. ``file`` is how errors name the file.

    Raises:
        SpecError: no spec, or more than one, has that name here; or nothing less than another value would change too.
    """
    specs = documents.read(file, data)
    values = [document.value() for document in specs]
    places = [i for i, value in enumerate(values) if isinstance(value, dict) and value.get("name") == name]
    if not places:
        raise SpecError([Problem(file, 0, 0, f"holds no spec named '{name}' any more")])
    if len(places) > 1:
        raise SpecError([specs[i].problem(("name",), f"'{name}' is named more than once") for i in places])
    document, value = specs[places[0]], values[places[0]]
    if value.get("state", "running") == state:
        return data
    edited = _edited(data.decode(), document, value.get("state"), state)
    values[places[0]] = {**value, "state": state}
    if edited is None or not _reads_as(edited, file, values):
        message = "state cannot be set here without changing something else; edit it by hand"
        raise SpecError([document.problem(("state",), message)])
    return edited


def _reads_as(data: bytes, file: str, values: list[Any]) -> bool:
    try:
        return [document.value() for document in documents.read(file, data)] == values
    except SpecError:
        return False


@dataclass(frozen=True, slots=True)
class _Node:
    """A key or value of the document, or its mapping: where it starts and ends in the file's text, and its style."""

    start: int
    end: int
    style: str | None
    value: str | None
    alias: bool

    @property
    def quote(self) -> str:
        return self.style if self.style and self.style in "\"'" else ""

    @property
    def block(self) -> bool:
        return self.style in {"|", ">"}


def _edited(whole: str, document: Document, old: object, new: State) -> bytes | None:
    text = whole.removeprefix(_BOM)
    nodes = list(_top(text, document))
    entries = {key.value: (key, value) for key, value in zip(nodes[1::2], nodes[2::2], strict=True)}
    edited: str | None
    if old is None:
        edited = _insert(text, *entries["name"], new, flow=nodes[0].style == "flow")
    else:
        edited = _replace(text, entries["state"][1], str(old), new)
    return None if edited is None else (whole[: len(whole) - len(text)] + edited).encode()


def _top(text: str, document: Document) -> Iterator[_Node]:
    """Yield the document's mapping, then its keys and values in turn."""
    starts = [0, *(found.end() for found in _BREAK.finditer(text))]

    def offset(mark: Any) -> int:  # noqa: ANN401 - a mark of ruamel.yaml
        return int(starts[document.line - 1 + mark.line] + mark.column)

    def node(first: Any, last: Any, style: str | None = None) -> _Node:  # noqa: ANN401 - events of ruamel.yaml
        start, end = offset(first.start_mark), offset(last.end_mark)
        return _Node(start, end, style, getattr(first, "value", None), isinstance(first, AliasEvent))

    opened: list[Any] = []
    for event in YAML(typ="safe", pure=True).parse(document.text):
        if isinstance(event, CollectionEndEvent):
            first = opened.pop()
            if len(opened) == 1:
                yield node(first, event)
        elif isinstance(event, CollectionStartEvent):
            opened.append(event)
            if len(opened) == 1:
                yield node(event, event, "flow" if event.flow_style else None)
        elif isinstance(event, (ScalarEvent, AliasEvent)) and len(opened) == 1:
            yield node(event, event, getattr(event, "style", None))


def _replace(text: str, node: _Node, old: str, new: State) -> str | None:
    if node.alias:
        return text[: node.start] + new + text[node.end :]
    at = text.rfind(old, node.start, node.end)  # the last: an anchor may be called the same
    return None if at < 0 else text[:at] + new + text[at + len(old) :]


def _insert(text: str, key: _Node, name: _Node, state: State, *, flow: bool) -> str:
    """Add the state beside the name, written as the name is: its quotes, its indentation, its line ends."""
    found = _GAP.fullmatch(text, key.end, name.start)
    gap = found[0] if found else ": "
    gap = gap[:-1] if gap.endswith("  ") else gap  # values in a column: "state" is one longer than "name"
    entry = f"{key.quote}state{key.quote}{gap}{name.quote}{state}{name.quote}"
    line = 1 + max(text.rfind("\n", 0, key.start), text.rfind("\r", 0, key.start))
    indent = text[line : key.start]
    if not flow:
        end = None if name.block else _BREAK.search(text, name.end)
        if end:
            return f"{text[: end.end()]}{indent}{entry}{end[0]}{text[end.end() :]}"
        newline = _BREAK.search(text)
        return f"{text[:line]}{indent}{entry}{newline[0] if newline else chr(10)}{text[line:]}"
    rest = _REST_OF_ENTRY.match(text, name.end)
    if rest and not indent.strip(" \t"):
        return f"{text[: rest.end()]}{indent}{entry},{rest[1]}{text[rest.end() :]}"
    comma = ", " if gap.endswith(" ") else ","
    return f"{text[: name.end]}{comma}{entry}{text[name.end :]}"
