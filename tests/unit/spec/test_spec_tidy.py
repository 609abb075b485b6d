"""Spec files are tidied without a change of what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import SpecError
from reconciler.spec import documents
from reconciler.spec.schema import json_schema
from reconciler.spec.tidy import ORDER, tidied

ROOT = Path(__file__).parents[3]


def tidy(text: str) -> str:
    return tidied(text.encode(), "a.yaml").decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("model: m\nname: a\n", "name: a\nmodel: m\n"),
        ("# head\nmodel: m # why\n# its name\nname: a\n", "# head\n# its name\nname: a\nmodel: m # why\n"),
        ("name: a  \n\n\n\nmodel: m", "name: a\n\nmodel: m\n"),
        ("name: a\r\nmodel: m\r\n", "name: a\nmodel: m\n"),
        ("\ufeffname: a\n", "name: a\n"),
        ("seed: 1\nname: a\n---\nmodel: m\nname: b\n# end\n", "name: a\nseed: 1\n---\nname: b\nmodel: m\n# end\n"),
        ("wandb:\n  # inner\n  project: p\nname: 'a'\n", "name: 'a'\nwandb:\n  # inner\n  project: p\n"),
        ("zebra: 1\nname: a\n", "name: a\nzebra: 1\n"),
        ("{model: m, name: a}\n", "{model: m, name: a}\n"),
        ("", ""),
        ("# only a comment\n", "# only a comment\n"),
    ],
)
def test_what_becomes_of_a_file(before: str, after: str) -> None:
    assert tidy(before) == after


def test_an_anchor_keeps_its_keys_in_place() -> None:
    text = "wandb: &w {project: p}\nname: a\nmetadata: *w\n"
    assert documents.read("a", tidy(text).encode())[0].value() == documents.read("a", text.encode())[0].value()
    text = "metadata: &m {a: b}\nname: a\nwandb: *m\n"
    assert tidy(text) == text


def test_a_block_scalar_keeps_its_lines() -> None:
    text = "name: a\ngrader:\n  source: |\n    def grade():  \n\n\n      pass\nmodel: m\n"
    before, after = (documents.read("a", t.encode())[0].value() for t in (text, tidy(text)))
    assert before == after


def test_no_yaml_is_refused_with_its_place() -> None:
    with pytest.raises(SpecError, match=r"a\.yaml:3:"):
        tidy("name: a\nmodel: [\n")


def test_our_own_specs_are_tidy() -> None:
    for file in [*ROOT.glob("specs/*.yaml"), *ROOT.glob("examples/*/specs/*.yaml")]:
        assert tidied(file.read_bytes(), file.name) == file.read_bytes(), file


def test_the_order_names_every_key_that_a_spec_may_have() -> None:
    assert set(json_schema()["properties"]) == set(ORDER)


KEYS = st.permutations(ORDER)
VALUES = st.sampled_from(["1", "x", "'q'", "{a: [1, 2]}", "|\n  two\n\n  lines  ", "\n  - a\n  - b # c", "&n 3", '"e"'])


@given(KEYS, st.lists(VALUES, min_size=22, max_size=22), st.integers(0, 22), st.sampled_from(["", "# c\n", "\n\n"]))
@settings(database=None, deadline=None)
def test_values_and_comments_stay_and_twice_is_once(keys: list[str], values: list[str], count: int, gap: str) -> None:
    anchored = [re.sub("&n", f"&n{number}", value) for number, value in enumerate(values)]
    text = "".join(f"{gap}{key}: {value}\n" for key, value in list(zip(keys, anchored, strict=True))[:count])
    once = tidy(text)
    if count:
        assert documents.read("a", once.encode())[0].value() == documents.read("a", text.encode())[0].value()
    assert once.count("#") == text.count("#")
    assert tidy(once) == once
