"""Bytes to documents: the fast path and the exact one agree, and nothing hostile gets far."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import SpecError
from reconciler.spec.documents import MAX_BYTES, MAX_DEPTH, MAX_NODES, Document, read, read_bytes

ODD_WORDS = """
    yes no on off true True TRUE tRue false null Null ~ 0 -0 +1 007 -010 0o17 0x1F 0X1F -0x1F +0o7 0b11 1_000
    1e3 1E3 1. .5 .5e3 -.5 1e400 -1e400 1e-400 .inf -.INF .nan .NaN 12345678901234567890 18446744073709551616
    2024-01-01 12:30:45 = << a-b a.b a#b x:y - a&b *a !a ! ? . .. ... --- + -- 1e 1e+ 0x 0o8 e5 'it''s'
    "q\\u00e9\\n" "\\e" @a `a %a
"""
WORDS = st.sampled_from(ODD_WORDS.split())
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def only(text: str) -> Document:
    [document] = read("f.yaml", text.encode())
    return document


def outcome(text: str, *, exact: bool) -> tuple[str, object]:
    try:
        documents = read("f.yaml", text.encode())
        values = [d.tree.value if exact else d.value() for d in documents]
    except SpecError as error:
        return "refused", str(error)
    return "read", [typed(value) for value in values]


def typed(value: Any) -> Any:
    """A value in which 1, 1.0 and true differ."""
    if isinstance(value, dict):
        return {key: typed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [typed(inner) for inner in value]
    return (type(value).__name__, repr(value))


@given(WORDS, WORDS)
def test_both_paths_agree_on_every_scalar(word: str, other: str) -> None:
    for text in (
        f"k: {word}\n",
        f"{word}: x\n",
        f"k: [{word}, {other}]\n",
        f"k: {{{word}: {other}}}\n",
        f"- {word}\n- {other}\n",
    ):
        assert outcome(text, exact=False) == outcome(text, exact=True)


@given(VALUES)
def test_both_paths_agree_on_whatever_json_can_say(value: Any) -> None:
    text = json.dumps({"value": value}, ensure_ascii=False)
    if max(text) >= "\x7f" and not text.isprintable():
        return  # characters that no file may hold have tests of their own
    assert outcome(text, exact=False) == outcome(text, exact=True)


@given(st.text(alphabet="ab01:-?#&*!|>'\"%@`{}[],. \n\t~<=\\", max_size=40))
@settings(max_examples=400)
def test_both_paths_agree_on_any_text(text: str) -> None:
    assert outcome(text, exact=False) == outcome(text, exact=True)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(SpecError):
        for document in read("f.yaml", data):
            document.value()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("0o17", 15),
        ("017", 17),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("1e3", 1000.0),
        (".5e3", 500.0),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        ("NULL", None),
        ("18446744073709551616", 18446744073709551616),
        ("!!str 1", "1"),
        ("! 1", "1"),
        ("!!float 1", 1),
        ("!!map {}", {}),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    assert typed(only(f"k: {text}").value()) == typed({"k": value})


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs", "Cn", "Zl", "Zp"], exclude_characters="\ufeff")))
def test_json_that_spells_every_character_as_an_escape_says_the_same(text: str) -> None:
    escaped = json.dumps({text: [text]})
    for path in (False, True):
        assert outcome(escaped, exact=path) == outcome(json.dumps({text: [text]}, ensure_ascii=False), exact=path)
    assert only(escaped).value() == {text: [text]}


def test_documents_know_their_lines() -> None:
    documents = read("f.yaml", b"# intro\n---\n\n# the first\na: 1\n--- # next\n---\nb: 2\n...\n# end\n")
    assert [(d.value(), d.starts) for d in documents] == [({"a": 1}, 5), ({"b": 2}, 8)]
    assert str(documents[1].problem(("b",), "here")) == "f.yaml:8:4: here"


def test_a_byte_order_mark_and_windows_line_ends_are_fine() -> None:
    assert only("\ufeffa: 1\r\nb: |\r\n  x\r\n  y\r\n").value() == {"a": 1, "b": "x\ny\n"}


def test_small_aliases_are_followed() -> None:
    assert only("a: &x {n: [1]}\nb: *x\n").value() == {"a": {"n": [1]}, "b": {"n": [1]}}


def test_a_problem_in_an_alias_points_to_what_was_written() -> None:
    assert str(only("a: &x {n: 1}\nb: *x\n").problem(("b", "n"), "m")) == "f.yaml:1:11: m"


def test_an_anchored_key_can_be_referred_to() -> None:
    assert only("&x a: 1\nb: *x\n").value() == {"a": 1, "b": "a"}


@pytest.mark.parametrize("path", ["fast", "exact"])
@pytest.mark.parametrize(
    ("levels", "good"), [(MAX_DEPTH - 2, True), (MAX_DEPTH - 1, False), (MAX_DEPTH + 40, False)], ids=str
)
def test_depth_is_bounded_alike_on_both_paths(levels: int, good: bool, path: str) -> None:
    text = f"a: {'[' * levels}1{']' * levels}\n"
    assert (outcome(text, exact=path == "exact")[0] == "read") is good


def test_depth_through_aliases_is_bounded() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, MAX_DEPTH)]
    assert outcome("\n".join(lines), exact=False)[0] == "refused"


@pytest.mark.parametrize("path", ["fast", "exact"])
@pytest.mark.parametrize(("count", "good"), [(MAX_NODES - 2, True), (MAX_NODES - 1, False)])
def test_the_number_of_values_is_bounded_alike_on_both_paths(count: int, good: bool, path: str) -> None:
    text = f"a: [{', '.join(['x'] * count)}]\n"
    assert (outcome(text, exact=path == "exact")[0] == "read") is good


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000_000,
        "{a: " * 250_000,
        "- " * 500_000,
        "? " * 500_000,
        "\n".join(" " * i + "a:" for i in range(1_400)),
        "a: &a [x]\n" + "b: [" + "*a, " * 100_000 + "]",
        "a: '" + "x" * 1_000_000,
        "a: " + "9" * 1_000_000,
    ],
    ids=["flow lists", "flow mappings", "lists", "complex keys", "indents", "aliases", "a quote", "digits"],
)
def test_hostile_text_is_refused_soon(text: str) -> None:
    start = time.perf_counter()
    assert outcome(text, exact=False)[0] == "refused"
    assert time.perf_counter() - start < 5


def test_a_long_line_is_fine() -> None:
    assert only(f"a: {'x' * 2_000_000}\n").value() == {"a": "x" * 2_000_000}


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 1_000_000])
def test_a_file_is_read_whole_whatever_its_size(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"#" * size)

    assert len(read_bytes(str(path), "a.yaml")) == size


def test_of_a_file_that_is_too_large_no_more_is_read_than_tells_so(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"#" * (MAX_BYTES + 100))

    assert len(read_bytes(str(path), "a.yaml")) == MAX_BYTES + 1


def test_a_file_of_more_than_ten_megabytes_is_refused_unread() -> None:
    with pytest.raises(SpecError, match=r"f\.yaml: is larger than 10 MB"):
        read("f.yaml", b"#" * (MAX_BYTES + 1))


def test_a_fault_points_to_the_mapping_where_nothing_is_there() -> None:
    assert str(only("a:\n  b: 1\n").problem(("a", "c"), "m")) == "f.yaml:2:3: m"


def test_a_place_in_a_document_that_cannot_be_parsed_is_that_of_its_own_fault() -> None:
    assert only("a: [b\n").problem(("a",), "m").column == 4
