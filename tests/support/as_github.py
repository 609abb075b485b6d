"""What a run leaves behind, read as GitHub reads it: markdown, outputs of a step, commands to the runner."""

from __future__ import annotations

import re
from collections.abc import Collection
from html.parser import HTMLParser

from markdown_it import MarkdownIt

_RENDERER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
_OUR_TAGS = {"h3", "p", "code", "table", "thead", "tbody", "tr", "th", "td", "br", "strong", "blockquote"} | {
    "details", "summary", "pre", "sub", "ul", "li", "a",
}  # fmt: skip
_REFERENCE = re.compile(r"@\w|\w@\w|[#!]\d|\bGH-\d|\w://|\bwww\.\w|:[a-z]\w*:|\$[^\s\u200b]", re.IGNORECASE)
"""What a host makes a link, a mention, an emoji or a formula of, outside of code."""

_HIDDEN = re.compile(r" (reconciler|now|reviewed) [\w ,.:=+/-]+ ")
"""The hidden lines at the head of a comment of ours."""


class _Reading(HTMLParser):
    """What a browser makes of it: tags, links, comments, and the text outside of code."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: set[str] = set()
        self.attributes: set[str] = set()
        self.comments: list[str] = []
        self.prose = ""
        self._code = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links |= {value or "" for name, value in attrs if name in ("href", "src")}
        self._code += tag == "code"

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag == "code"

    def handle_data(self, data: str) -> None:
        self.prose += " " if self._code else data

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def insist_on_words(markdown: str, *, links: Collection[str], hidden: bool) -> None:
    """Insist that markdown has no markup but ours: only these links, and hidden lines only where it may have some."""
    reading = _Reading(_RENDERER.render(markdown))
    assert reading.tags <= _OUR_TAGS
    assert reading.attributes <= {"class", "style", "href"}
    assert reading.links <= set(links)
    marks = [mark[1] for comment in reading.comments if (mark := _HIDDEN.fullmatch(comment))]
    assert len(marks) == len(reading.comments)
    assert marks == ["reconciler", "now", "reviewed"][: len(marks)]
    assert hidden or not marks
    assert not _REFERENCE.search(reading.prose)
    assert markdown.replace("\n", "").isprintable()


def read_outputs(text: str) -> dict[str, str]:
    """Read outputs as the runner reads the file GITHUB_OUTPUT; what it refuses fails."""
    lines = text.split("\n")
    values = {}
    while lines:
        line = lines.pop(0)
        equals, here = (found if found >= 0 else len(line) for found in (line.find("="), line.find("<<")))
        if here < equals:
            name, mark = line.split("<<", 1)
            assert name
            assert mark
            end = lines.index(mark)
            values[name] = "\n".join(lines[:end])
            lines = lines[end + 1 :]
        elif line:
            name, _, values[name] = line.partition("=")
            assert equals < len(line), line
    return values


def heard(stdout: str) -> list[str]:
    """Return the commands that a runner takes from what a step prints, those that stop and resume it left out."""
    commands: list[str] = []
    stopped = None
    for line in stdout.splitlines():
        if stopped is not None:
            stopped = None if line.strip() == f"::{stopped}::" else stopped
        elif found := re.match(r"\s*::stop-commands::(.*)", line):
            stopped = found[1]
        elif re.match(r"\s*::", line) or "##[" in line:
            commands.append(line)
    assert stopped is None
    return commands


def insist_on_annotation(command: str) -> None:
    """Insist that a command to the runner is an annotation, and that nothing in it is another one."""
    assert command.isprintable()
    found = re.fullmatch(r"::(?:error|warning)(?: ([^:]*))?::.*", command)
    assert found, command
    names = [place.partition("=")[0] for place in found[1].split(",")] if found[1] else []
    assert names == ["file", "line", "col"][: len(names)]
