"""Hostile words in a server's answers stay words, whatever command prints them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from everything import Ended, Everything, everything, unowned
from markdown_it import MarkdownIt
from spiked import Way

TEXT = (
    "\x1b[31mred\x1b]8;;https://evil.example\x07link\x9b2J\x08\r\n::error::forged\n| forged | row |\u202e\u2066\u200b"
    "\u2028</script><script>alert(1)</script><img src=x onerror=alert(1)>--><!-- `code` [a](https://evil.example) "
    "@octocat #1 ${HOME} $(id) {{x}} \"quoted\" 'single' \\ end"
)
PAGE_TAGS = {"script", "img", "iframe", "object", "embed", "link", "form", "a"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everything]:
    with pytest.MonkeyPatch.context() as patch, everything(tmp_path_factory.mktemp("hostile"), patch) as made:
        made.spike.text = TEXT
        yield made


def unprintable(text: str) -> set[str]:
    return {character for character in text if not character.isprintable() and character != "\n"}


def faults(ended: Ended) -> list[str]:
    """Say what of a call's output a terminal, a log or a CI would obey."""
    found = []
    for text in (ended.out, ended.err):
        if odd := unprintable(text):
            found.append(f"{ended.call}: {odd}")
        if any(line.lstrip().startswith(("::", "| forged")) for line in text.splitlines()):
            found.append(f"{ended.call}: a forged line")
    if "Traceback" in ended.err or "fault of the program" in ended.err:
        found.append(f"{ended.call}: {ended.err}")
    return found


@pytest.mark.parametrize("way", ["values", "refuse", "plain text", "odd", "html"])
def test_nothing_escapes(world: Everything, way: Way) -> None:
    world.spike.way = way
    found = [fault for ended in world.calls() for fault in faults(ended)]
    assert found == []


def test_what_programs_read_can_be_read(world: Everything) -> None:
    world.spike.way = "values"
    for ended in world.calls():
        if "--format json" in ended.call and ended.code in (0, 1, 3) and ended.out:
            json.loads(ended.out)


def test_markdown_has_no_link_and_no_html_of_theirs(world: Everything) -> None:
    world.spike.way = "values"
    said = world.call("plan", "--format", "markdown", "--server", world.server.url).out
    tokens = MarkdownIt("commonmark").enable("table").parse(said)
    inline = [child for token in tokens for child in token.children or ()]
    assert {token.type for token in inline} & {"link_open", "image"} == set()
    assert "<script" not in said
    assert "<img" not in said
    assert "@octocat" not in said


def test_the_page_has_no_markup_of_theirs(world: Everything) -> None:
    world.spike.way = "values"
    world.call("history", "good", "--html", "page.html", "--server", world.server.url)
    tags: set[str] = set()
    events: set[str] = set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.add(tag)
            events.update(name for name, _ in attrs if name.startswith("on"))

    page = (world.repo.root / "page.html").read_text(encoding="utf-8")
    Reader().feed(page)
    assert tags & PAGE_TAGS == set()
    assert events == set()
    assert unprintable(page) == set()


def test_imported_specs_say_what_was_imported_and_nothing_else(world: Everything) -> None:
    world.spike.way = "values"
    target = world.repo.root / "specs" / "theirs"
    unowned(world.server)
    done = world.call("import", "--unowned", "--out", str(target), "--server", world.server.url)
    written = sorted(target.rglob("*.yaml"))
    texts = [file.read_text(encoding="utf-8") for file in written]
    valid = world.call("validate", str(target))
    for file in written:
        file.unlink()
    assert written, done.out + done.err
    assert [unprintable(text) for text in texts] == [set()] * len(texts)
    assert valid.code == 0, valid.err
    assert valid.out.startswith(f"{len(written)} job")


def test_the_words_are_really_there(world: Everything) -> None:
    world.spike.way = "values"
    for command in ("events", "checkpoints", "status"):
        assert "forged" in "".join(ended.out for ended in world.calls(command)), command
