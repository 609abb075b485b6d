"""The graph shows every spec once, below the one it starts from, and no name can draw another graph."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from reconciler.report.graph import graph_json, mermaid, render_graph
from reconciler.spec.desired import Desired, Upstream

HOSTILE = st.text(st.characters() | st.sampled_from('"[]();|<>-=&#`%\n\x1b\u202e'), min_size=1, max_size=12)


def spec(name: str, model: str | Upstream = "m") -> Desired:
    return Desired(name, "", model, "file-1")


@st.composite
def forests(draw: st.DrawFn) -> list[Desired]:
    """Specs each of which starts from a base model or from one before it."""
    specs = []
    for index in range(draw(st.integers(1, 12))):
        models: list[str | Upstream] = ["base"]
        models += [Upstream(f"s{i}", draw(st.sampled_from(["best", "last", 7]))) for i in range(index)]
        specs.append(spec(f"s{index}", draw(st.sampled_from(models))))
    return draw(st.permutations(specs))


@given(forests())
def test_every_spec_stands_once_below_the_one_it_starts_from(specs: list[Desired]) -> None:
    lines = render_graph(specs, color=False, width=None).splitlines()[1:]
    names = [(line.index(found[0]), found[0]) for line in lines if (found := re.search(r"s\d+", line))]
    assert sorted(name for _, name in names) == sorted(s.name for s in specs)
    upstream = {s.name: s.model.job if isinstance(s.model, Upstream) else None for s in specs}
    path: list[str] = []
    for column, name in names:
        del path[column // 4 :]
        assert upstream[name] == (path[-1] if path else None)
        path.append(name)


@given(forests())
def test_json_and_mermaid_have_an_edge_for_every_chain(specs: list[Desired]) -> None:
    chains = {(s.model.job, s.name) for s in specs if isinstance(s.model, Upstream)}
    assert {(edge["from"], edge["to"]) for edge in graph_json(specs)["edges"]} == chains
    text = mermaid(specs)
    names = dict(re.findall(r'^  (s\d+)\["(\w+)"\]$', text, re.MULTILINE))
    drawn = re.findall(r"^  (s\d+) -->\|[^|]+\| (s\d+)$", text, re.MULTILINE)
    assert {(names[a], names[b]) for a, b in drawn} == chains


@given(HOSTILE)
def test_no_model_name_breaks_out_of_its_label(model: str) -> None:
    first, square, rounded, edge = mermaid([spec("a", model)]).splitlines()
    assert (first, square, edge) == ("graph LR", '  s0["a"]', "  m0 --> s0")
    assert re.fullmatch(r'  m0\(\["[A-Za-z0-9 ._/()#;-]*"\]\)', rounded)
    shown = render_graph([spec("a", model)], color=False, width=60)
    assert shown.replace("\n", "").isprintable()


def test_a_chain_of_a_thousand_is_drawn() -> None:
    specs = [spec("s0"), *(spec(f"s{i}", Upstream(f"s{i - 1}")) for i in range(1, 1000))]
    assert len(render_graph(specs, color=False, width=None).splitlines()) == 1001


def test_no_specs_are_said_in_words() -> None:
    assert render_graph([], color=False, width=80) == "No specs.\n"
    assert mermaid([]) == "graph LR\n"
    assert graph_json([]) == {"nodes": [], "edges": []}
