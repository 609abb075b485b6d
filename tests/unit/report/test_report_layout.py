from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.report.layout import Page, Row, cells, fold, pad, table
from reconciler.report.style import SGR, Span

WORDS = st.text(st.sampled_from("ab 世é"), max_size=60)


def folded(text: str, width: int | None, hang: int = 0) -> list[str]:
    return ["".join(part for part, _ in line) for line in fold([(text, "")], width, hang)]


@pytest.mark.parametrize(
    ("text", "width", "hang", "lines"),
    [
        ("fits", 10, 0, ["fits"]),
        ("one two three", 8, 2, ["one two", "  three"]),
        ("one two three", None, 2, ["one two three"]),
        ("  indented words", 11, 4, ["  indented", "    words"]),
        ("abcdefghij", 4, 0, ["abcd", "efgh", "ij"]),
        ("世界世界", 4, 0, ["世界", "世界"]),
        ("ends in spaces   ", 40, 0, ["ends in spaces"]),
        ("", 10, 0, [""]),
    ],
)
def test_lines_break_at_spaces_and_go_on_indented(text: str, width: int | None, hang: int, lines: list[str]) -> None:
    assert folded(text, width, hang) == lines


@given(st.lists(st.tuples(WORDS, st.sampled_from(sorted(SGR))), max_size=5), st.integers(8, 60), st.integers(0, 80))
@settings(database=None, deadline=None)
def test_folding_keeps_every_letter_and_every_width(line: list[Span], width: int, hang: int) -> None:
    lines = list(fold(line, width, hang))
    assert all(cells("".join(text for text, _ in part)) <= width for part in lines)
    before = "".join(text for text, _ in line).replace(" ", "")
    assert "".join(text for part in lines for text, _ in part).replace(" ", "") == before


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("世界", 4), ("e\u0301", 1), ("", 0)])
def test_width_is_counted_in_terminal_cells(text: str, width: int) -> None:
    assert cells(text) == width
    assert cells(pad(text, 9)) == 9


def test_colour_adds_codes_and_changes_no_word() -> None:
    plain, colored = Page(color=False, width=40), Page(color=True, width=40)
    for page in (plain, colored):
        page.line(("done", "good"), " and ", ("dim", "dim"))
    assert str(plain) == "done and dim\n"
    assert str(colored) == "\x1b[32mdone\x1b[0m and \x1b[2mdim\x1b[0m\n"


def test_blank_lines_never_pile_up() -> None:
    page = Page(color=False, width=None)
    page.blank()
    page.line("a")
    page.blank()
    page.blank()
    page.line("b")
    page.blank()
    assert str(page) == "a\n\nb\n"


def test_a_page_without_lines_is_empty() -> None:
    assert str(Page(color=False, width=80)) == ""


def test_a_terminal_too_narrow_to_read_is_taken_as_a_little_wider() -> None:
    assert Page(color=False, width=3).width == 32


def test_a_table_aligns_words_left_and_numbers_right() -> None:
    page = Page(color=False, width=None)
    table(page, ["NAME", "LOSS"], [Row([("a", ""), ("0.5", "")]), Row([("longer", ""), ("12.25", "")])], right={1})
    assert str(page) == "NAME     LOSS\na         0.5\nlonger  12.25\n"


def test_columns_that_do_not_fit_go_below_with_their_titles() -> None:
    rows = [Row([("a", ""), ("x" * 20, ""), ("", "")], below=[[("error", "")]])]
    for width, lines in (
        (60, ["NAME  JOB                   MODEL", "a     " + "x" * 20, "  error"]),
        (32, ["NAME", "a", "  job    " + "x" * 20, "  error"]),
    ):
        page = Page(color=False, width=width)
        table(page, ["NAME", "JOB", "MODEL"], rows, spill=2)
        assert str(page).splitlines() == lines
