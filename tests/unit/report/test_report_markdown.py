from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from reconciler.plan.model import Access, Action, Change, Difference, Plan
from reconciler.report.escape import code, md
from reconciler.report.plan_markdown import LONGEST, plan_markdown

RENDERER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
OWN_TAGS = {"h3", "p", "code", "table", "thead", "tbody", "tr", "th", "td", "br", "strong"} | {
    "blockquote", "details", "summary", "pre", "sub",
}  # fmt: skip

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!-- comment",
    "</details></td></table>",
    "**bold** _it_ ~~gone~~ `code` ``two``",
    "[link](https://evil.example) ![img](https://evil.example/x.png)",
    "<https://evil.example> https://evil.example www.evil.example",
    "| a | b |",
    "a\n\n# Heading\n\n- item\n> quote\n---",
    "```\nfence\n```",
    "@octocat @acme/team #123 acme/models#4 GH-7 !5 ~label %mile $snippet :tada:",
    "\\",
    "a\\|b",
    "&lt;b&gt; &#64;here",
    "[^1] [ref]: https://evil.example",
    "$`x`$ $$y$$",
]


class Reading(HTMLParser):
    """What a browser makes of rendered markdown: its tags, its text, and the text outside of code."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.prose = ""
        self._code = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self._code += tag == "code"

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag == "code"

    def handle_data(self, data: str) -> None:
        self.text += data
        if not self._code:
            self.prose += data


def read(markdown: str) -> Reading:
    return Reading(RENDERER.render(markdown))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_prose_reads_as_it_was_written(text: str) -> None:
    reading = read(f"It says: {md(text)}")
    assert reading.tags == {"p"}
    assert reading.text.replace("\u200b", "").strip() == f"It says: {' '.join(text.split())}"


@pytest.mark.parametrize("text", ["=", "==", "-", "---", "- a", "+ a", "1. a", "12) a", "1"])
def test_a_warning_makes_no_list_and_no_heading(text: str) -> None:
    reading = read(plan_markdown(Plan.of("o", "s", [], [text], [text])))
    assert reading.tags <= OWN_TAGS - {"ul", "ol", "li", "h1", "h2"}
    assert text in reading.text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_values_stay_inside_their_code(text: str) -> None:
    reading = read(f"x {code(text)} y")
    assert reading.tags == {"p", "code"}
    assert reading.prose.split() == ["x", "y"]


@pytest.mark.parametrize("reference", ["@octocat", "#123", "GH-7", "://evil", "www.", "!5", "~label"])
def test_hosts_find_nothing_to_link_in_prose(reference: str) -> None:
    assert reference not in read(f"see {md('acme/models' + reference + ' ' + reference)}").prose


@given(st.text(st.characters(), max_size=60))
@settings(database=None, deadline=None)
def test_no_text_at_all_adds_markup_to_a_plan(text: str) -> None:
    change = Change(text, Action.CREATE, text, text, text, 1, (Difference(text, text, text),), text, text, (text,))
    blocked = Change(text, Action.BLOCKED, text)
    reading = read(plan_markdown(Plan.of(text, text, [change, blocked], [text], [text])))
    assert reading.tags <= OWN_TAGS
    assert reading.attributes <= {"class", "style"}


def test_blocked_changes_come_first() -> None:
    plan = Plan.of("o", "s", [Change("a", Action.CREATE, "r"), Change("b", Action.BLOCKED, "failed")])
    text = plan_markdown(plan)
    assert text.index("<code>b</code>") < text.index("<code>a</code>")


def test_a_fence_is_longer_than_any_run_of_backticks_in_it() -> None:
    change = Change("a", Action.CREATE, "r", diff=(Difference("f", "````", "`````x"),))
    assert "\n``````diff\n" in plan_markdown(Plan.of("o", "s", [change]))


def test_a_thousand_changes_fit_into_one_comment_and_the_rest_is_counted() -> None:
    diff = (Difference("hyperparameters.n_epochs", "3", "4"),)
    changes = [Change(f"job-{i:04}", Action.CREATE, "no job of this revision " * 4, diff=diff) for i in range(1000)]
    text = plan_markdown(Plan.of("o", "s", changes))
    shown = text.count("| <code>+</code> |")
    assert len(text) < 65_536
    assert 100 < shown < 1000
    assert f"… and {1000 - shown} more changes" in text
    assert "### Plan: 1000 to create." in text


def test_differences_make_room_before_rows_do() -> None:
    diff = (Difference("f", "x" * 200, "y" * 200),)
    changes = [Change(f"job-{i}", Action.CREATE, "r", diff=diff) for i in range(30)]
    text = plan_markdown(Plan.of("o", "s", changes), limit=6_000)
    assert text.count("| <code>+</code> |") == 30
    assert 0 < text.count("<details>") < 30
    assert len(text) <= 6_000


def test_jobs_that_match_are_one_line() -> None:
    changes = [Change("a", Action.CREATE, "r"), *(Change(f"n{i}", Action.NONE, "r") for i in range(3))]
    text = plan_markdown(Plan.of("o", "s", changes))
    assert "3 jobs match their specs." in text
    assert "n1" not in text


def test_no_plan_is_longer_than_its_limit_whatever_its_texts() -> None:
    worst = "@😀" * 400
    changes = [Change(f"{worst}{i}", Action.BLOCKED, worst, worst, notes=(worst,)) for i in range(300)]
    access = [Access(f"{worst}{i}", worst, (worst,)) for i in range(300)]
    plan = Plan.of(worst, worst, changes, [worst] * 300, [worst] * 300, access)
    for limit in (8_000, 20_000, LONGEST):
        assert len(plan_markdown(plan, limit).encode("utf-16-le")) // 2 <= limit


def test_everything_that_is_left_out_is_counted() -> None:
    diff = tuple(Difference(f"field-{i}", "x" * 200, "y" * 200) for i in range(20))
    changes = [Change(f"job-{i:03}", Action.CREATE, "new", diff=diff) for i in range(100)]
    access = [Access(f"job-{i:03}", "m" * 150, ("proj_" + "a" * 150,)) for i in range(100)]
    text = plan_markdown(Plan.of("o", "s", changes, ["w" * 300] * 60, access=access), 24_000)
    rows, blocks = text.count("| <code>+</code> |"), text.count("<details>")
    warned, granted = text.count("[!WARNING]"), text.count("- Permissions of")
    assert 0 < warned < 60
    assert f"… and {60 - warned} more warnings" in text
    assert rows == 100
    assert f"… and {100 - granted} more models with permissions" in text
    assert f"… and {100 - blocks} differences" in text
