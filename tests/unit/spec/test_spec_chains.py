"""The order of specs that start from others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.spec.chains import ordered

NAMES = st.sampled_from("abcdef")


@pytest.mark.parametrize(
    ("upstream", "order", "cycles"),
    [
        ({"a": "b", "b": "c", "c": None}, ["c", "b", "a"], []),
        ({"a": "elsewhere"}, ["a"], []),
        ({"a": "a"}, [], [["a", "a"]]),
        ({"c": "a", "a": "b", "b": "c", "d": "c", "e": None}, ["e"], [["a", "b", "c", "a"]]),
        ({"a": "b", "b": "a", "c": "d", "d": "c"}, [], [["a", "b", "a"], ["c", "d", "c"]]),
    ],
)
def test_upstreams_come_first_and_cycles_are_paths(
    upstream: dict[str, str | None], order: list[str], cycles: list[list[str]]
) -> None:
    assert ordered(upstream) == (order, cycles)


@given(st.dictionaries(NAMES, st.none() | NAMES))
def test_everything_is_in_order_or_leads_to_a_cycle(upstream: dict[str, str | None]) -> None:
    order, cycles = ordered(upstream)
    for position, name in enumerate(order):
        source = upstream[name]
        assert source is None or source not in upstream or source in order[:position]
    on_cycle = {name for cycle in cycles for name in cycle}
    for name in upstream.keys() - set(order):
        seen: set[str | None] = set()
        step: str | None = name
        while step not in seen and step not in on_cycle:
            seen.add(step)
            step = upstream[step or ""]
        assert step in on_cycle


def test_a_chain_of_ten_thousand_is_no_problem() -> None:
    upstream: dict[str, str | None] = {f"n{i:05}": f"n{i + 1:05}" for i in range(9_999)} | {"n09999": None}
    assert ordered(upstream)[0][0] == "n09999"
