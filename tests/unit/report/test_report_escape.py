from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.report.escape import clean, code, exact, md

ANY_TEXT = st.text(st.characters(), max_size=80)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words", "plain words"),
        ("  two\n lines\tand a tab ", "two lines and a tab"),
        ("\x1b[2J\x1b[31mred", r"\x1b[2J\x1b[31mred"),
        ("\x1b]8;;https://evil.example\x07link", r"\x1b]8;;https://evil.example\x07link"),
        ("bell\x07 back\x08 delete\x7f", r"bell\x07 back\x08 delete\x7f"),
        ("\x9b31m", r"\x9b31m"),
        ("user\u202eexe.txt", r"user\u202eexe.txt"),
        ("\u2066isolate\u2069", r"\u2066isolate\u2069"),
        ("::error file=a::b", r"\x3a:error file=a::b"),
        ("  ::add-mask::x", r"\x3a:add-mask::x"),
        ("##[group]x", r"\x23#[group]x"),
        ("##vso[task.complete]", r"\x23#vso[task.complete]"),
        ("a ##[error]b ##[c]", r"a \x23#[error]b \x23#[c]"),
        ("# a ## b ##c", "# a ## b ##c"),
        ("::1", "::1"),
        ("a ::error::b", "a ::error::b"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("\ud800 lone surrogate", r"\ud800 lone surrogate"),
        ("Grüße, 世界 🎉", "Grüße, 世界 🎉"),
    ],
)
def test_prose_shows_what_a_terminal_would_obey(text: str, shown: str) -> None:
    assert clean(text) == shown


@pytest.mark.parametrize(("text", "shown"), [("a  b", "a  b"), ("a\nb", r"a\nb"), ("a\tb", r"a\tb"), ("\x00", r"\x00")])
def test_values_keep_every_space_and_show_line_breaks(text: str, shown: str) -> None:
    assert exact(text) == shown


@given(ANY_TEXT)
@settings(database=None, deadline=None)
def test_what_comes_out_can_always_be_printed(text: str) -> None:
    for result in (clean(text), exact(text), md(text), code(text)):
        assert result.isprintable()
        result.encode()


def test_a_long_text_is_cut_and_says_so() -> None:
    assert clean("word " * 1000, 20) == "word word word word…"
    assert exact("x" * 30, 10) == "x" * 9 + "…"
    assert exact("x" * 10, 10) == "x" * 10


def test_a_huge_text_costs_no_more_than_what_is_shown_of_it() -> None:
    assert len(clean("\x1b" * 50_000_000, 100)) <= 400
