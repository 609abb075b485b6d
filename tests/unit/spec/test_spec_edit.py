"""Setting a state touches nothing else: comments, order, quotes, line ends, other documents."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import SpecError
from reconciler.spec import documents
from reconciler.spec.desired import State
from reconciler.spec.edit import set_state

REST = "model: m\ntraining_file: t\n"


def edited(text: str, state: State = "paused", name: str = "a") -> str:
    return set_state(text.encode(), name, state, "specs/a.yaml").decode()


def refusal(text: str, state: State = "paused", name: str = "a") -> str:
    with pytest.raises(SpecError) as caught:
        edited(text, state, name)
    return str(caught.value)


WRITTEN = {
    "plain": ("name: a\nstate: running\nmodel: m\n", "name: a\nstate: paused\nmodel: m\n"),
    "a comment beside it": ("name: a\nstate: running  # running on\n", "name: a\nstate: paused  # running on\n"),
    "single quotes": ("state: 'running'\nname: a\n", "state: 'paused'\nname: a\n"),
    "double quotes": ('"state": "running"\nname: a\n', '"state": "paused"\nname: a\n'),
    "on a line of its own": ("name: a\nstate:\n  # why\n  running\n", "name: a\nstate:\n  # why\n  paused\n"),
    "literal": (
        "name: a\nstate: |-  # running\n  running\n\n# running\n",
        "name: a\nstate: |-  # running\n  paused\n\n# running\n",
    ),
    "an explicit key": ("? name\n: a\n? state\n: running\n", "? name\n: a\n? state\n: paused\n"),
    "tagged": ("name: a\nstate: !!str running\n", "name: a\nstate: !!str paused\n"),
    "an anchor called alike": ("name: a\nstate: &running running\n", "name: a\nstate: &running paused\n"),
    "an alias": (
        "name: a\nmetadata: {mode: &s running}\nstate: *s  # as above\n",
        "name: a\nmetadata: {mode: &s running}\nstate: paused  # as above\n",
    ),
    "an alias called alike": (
        "name: a\nmetadata: {mode: &running running}\nstate: *running\n",
        "name: a\nmetadata: {mode: &running running}\nstate: paused\n",
    ),
    "flow": ("{name: a, state: running, model: m}\n", "{name: a, state: paused, model: m}\n"),
    "flow at the end": ("{name: a, state: running}", "{name: a, state: paused}"),
    "JSON": ('{"name":"a","state":"running"}', '{"name":"a","state":"paused"}'),
    "no final line break": ("name: a\nstate: running", "name: a\nstate: paused"),
    "CRLF": ("name: a\r\nstate: running\r\nmodel: m\r\n", "name: a\r\nstate: paused\r\nmodel: m\r\n"),
    "CR": ("name: a\rstate: running\rmodel: m\r", "name: a\rstate: paused\rmodel: m\r"),
    "mixed line ends": ("name: a\r\nstate: running\nmodel: m\r", "name: a\r\nstate: paused\nmodel: m\r"),
    "a byte order mark": ("\ufeffstate: running\nname: a\n", "\ufeffstate: paused\nname: a\n"),
    "wide characters": ("name: a\n# 日本語 😀\nstate: running\n", "name: a\n# 日本語 😀\nstate: paused\n"),
    "wide characters before it": (
        '{"metadata": {"x": "日本語 😀"}, "state": "running", "name": "a"}',
        '{"metadata": {"x": "日本語 😀"}, "state": "paused", "name": "a"}',
    ),
    "a state of another mapping": (
        "metadata:\n  state: running\nname: a\nstate: running\n",
        "metadata:\n  state: running\nname: a\nstate: paused\n",
    ),
    "the second of three documents": (
        "name: b\nstate: running\n---\nname: a\nstate: running\n...\n---\nname: c\nstate: running\n",
        "name: b\nstate: running\n---\nname: a\nstate: paused\n...\n---\nname: c\nstate: running\n",
    ),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_a_written_state_is_replaced_where_it_stands(case: str) -> None:
    before, after = WRITTEN[case]
    assert edited(before) == after


ADDED = {
    "below the name": (f"# top\nname: a # the name\n{REST}", f"# top\nname: a # the name\nstate: paused\n{REST}"),
    "with the name's quotes": (f"'name': \"a\"\n{REST}", f"'name': \"a\"\n'state': \"paused\"\n{REST}"),
    "in the column of values": ("name:    a\nmodel:   m\n", "name:    a\nstate:   paused\nmodel:   m\n"),
    "with the indentation": ("---\n  name: a\n  model: m\n", "---\n  name: a\n  state: paused\n  model: m\n"),
    "with the line ends": ("model: m\r\nname: a\r\n", "model: m\r\nname: a\r\nstate: paused\r\n"),
    "above a name that ends the file": ("model: m\nname: a", "model: m\nstate: paused\nname: a"),
    "above a literal name": ("model: m\nname: |-\n  a\nseed: 1\n", "model: m\nstate: paused\nname: |-\n  a\nseed: 1\n"),
    "below a name with an anchor": ("name: &n a\nsuffix: *n\n", "name: &n a\nstate: paused\nsuffix: *n\n"),
    "below a name that is an alias": ("suffix: &n a\nname: *n\n", "suffix: &n a\nname: *n\nstate: paused\n"),
    "in a flow mapping": ("{name: a, model: m}\n", "{name: a, state: paused, model: m}\n"),
    "at the end of a flow mapping": ("{model: m, name: a}", "{model: m, name: a, state: paused}"),
    "in compact JSON": ('{"name":"a","model":"m"}', '{"name":"a","state":"paused","model":"m"}'),
    "in indented JSON": (
        '{\n  "name": "a",\n  "model": "m"\n}\n',
        '{\n  "name": "a",\n  "state": "paused",\n  "model": "m"\n}\n',
    ),
    "at the end of indented JSON": (
        '{\n  "model": "m",\n  "name": "a"\n}\n',
        '{\n  "model": "m",\n  "name": "a", "state": "paused"\n}\n',
    ),
    "below a flow entry with a comment": (
        "{\n  name: a,  # this one\n  # the base\n  model: m,\n}\n",
        "{\n  name: a,  # this one\n  state: paused,\n  # the base\n  model: m,\n}\n",
    ),
    "in a flow mapping that opens on the name's line": (
        "--- {name: a,\n  model: m}\n",
        "--- {name: a, state: paused,\n  model: m}\n",
    ),
    "in a document after others": (
        f"name: b\n{REST}---\n# mine\nname: a\n{REST}",
        f"name: b\n{REST}---\n# mine\nname: a\nstate: paused\n{REST}",
    ),
    "below the only line": ("name: a\n", "name: a\nstate: paused\n"),
    "above the only line": ("name: a", "state: paused\nname: a"),
}


@pytest.mark.parametrize("case", ADDED)
def test_a_state_that_is_not_written_is_added_beside_the_name(case: str) -> None:
    before, after = ADDED[case]
    assert edited(before) == after


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("name: a\nmodel: m\n", "running"),
        ("name: a\nstate:   'paused'\n", "paused"),
        ("metadata: {mode: &s paused}\nname: a\nstate: *s\n", "paused"),
    ],
)
def test_a_state_that_holds_already_changes_nothing(text: str, state: State) -> None:
    assert edited(text, state) == text


BY_HAND = "edit it by hand"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: a\nstate: &s running\nmetadata: {mode: *s}\n", f"specs/a.yaml:2:8: state cannot.*{BY_HAND}"),
        ('name: a\nstate: "runn\\u0069ng"\n', f"specs/a.yaml:2:8: .*{BY_HAND}"),
        ("name: a\nstate: null\n", BY_HAND),
        ("? name\n: a\nmodel: m\n", BY_HAND),
        ("name: b\n", "specs/a.yaml: holds no spec named 'a' any more"),
        ("- name: a\n", "holds no spec named 'a' any more"),
        ("name: a\n---\nname: a\n", "specs/a.yaml:3:7: 'a' is named more than once"),
        ("name: a\nname: a\n", "given twice"),
        ("name: [", "not valid YAML"),
    ],
)
def test_what_cannot_be_edited_alone_is_refused(text: str, words: str) -> None:
    assert re.search(words, refusal(text))


COMMENTS = st.sampled_from(["", "# state: paused", '# it\'s "quoted": {x', "#", "# 日本語 😀 ---"])
BREAKS = st.sampled_from(["\n", "\r\n"])
STATES = st.sampled_from(["running", "paused", "cancelled"])
FIELDS = [
    "model: gpt-4o-mini",
    "model: {job: base,\n  checkpoint: best}",
    "training_file: 'data/it''s.jsonl'",
    "metadata:\n  state: running\n  name: a",
    "metadata: {state: running, name: a}",
    "grader:\n- state: paused\n- |\n  state: running\n  # no comment",
    'suffix: "a: b # c"',
    "wandb: &w\n  project: p\n  tags: [paused, running]",
]
FLOW_FIELDS = ['"model": "m, {x"', '"metadata": {"state": "running"}']


@st.composite
def block_documents(draw: st.DrawFn, name: str) -> str:
    indent = draw(st.sampled_from(["", "  "]))
    quote = draw(st.sampled_from(["", "'", '"']))
    fields = {field.partition(":")[0]: field for field in draw(st.lists(st.sampled_from(FIELDS)))}
    lines = [f"name: {quote}{name}{quote}", *fields.values()]
    if draw(st.booleans()):
        lines.append(f"state: {quote}{draw(STATES)}{quote}")
    parts = []
    for line in draw(st.permutations(lines)):
        comment = draw(COMMENTS)
        parts += [""] * draw(st.integers(0, 1)) + ([indent + comment] if comment else [])
        beside = "" if "\n" in line or "&" in line else draw(COMMENTS)
        parts += [indent + part for part in line.split("\n")]
        parts[-1] += f"  {beside}" if beside else ""
    return "\n".join(parts) + "\n"


@st.composite
def flow_documents(draw: st.DrawFn, name: str) -> str:
    entries = [f'"name": "{name}"', *draw(st.lists(st.sampled_from(FLOW_FIELDS), unique=True))]
    if draw(st.booleans()):
        entries.append(f'"state": "{draw(STATES)}"')
    between = draw(st.sampled_from([", ", ",", ",\n  ", ",  # so\n  "]))
    opening = draw(st.sampled_from(["{", "{ ", "{\n  "]))
    return opening + between.join(draw(st.permutations(entries))) + draw(st.sampled_from(["}", "\n}"])) + "\n"


@st.composite
def spec_files(draw: st.DrawFn) -> bytes:
    names = draw(st.permutations(["a", "b", "c"][: draw(st.integers(1, 3))]))
    parts = [draw(st.one_of(block_documents(name), flow_documents(name))) for name in names]
    text = "---\n".join(parts)
    if draw(st.booleans()):
        text = text.removesuffix("\n")
    bom = "\ufeff" if draw(st.booleans()) else ""
    return (bom + text.replace("\n", draw(BREAKS))).encode()


@given(spec_files(), STATES)
def test_only_the_state_changes_whatever_surrounds_it(data: bytes, state: State) -> None:
    name = max(values(data))
    before = values(data)
    after = set_state(data, name, state, "x.yaml")
    wanted = {**before[name], "state": state}
    if "state" not in before[name] and state == "running":
        wanted = before[name]
    assert values(after) == {**before, name: wanted}
    ended = data.endswith((b"\n", b"\r"))  # without a final break, the last line gets one before the new line
    matcher = SequenceMatcher(None, data.splitlines(ended), after.splitlines(ended), autojunk=False)
    changes = [code for code in matcher.get_opcodes() if code[0] != "equal"]
    assert len(changes) <= 1
    for _, old_start, old_end, new_start, new_end in changes:
        assert old_end - old_start <= 1
        assert new_end - new_start == 1


@given(spec_files(), STATES, STATES)
def test_a_state_set_and_set_back_leaves_the_file_as_it_was(data: bytes, first: State, second: State) -> None:
    name = max(values(data))
    marked = set_state(data, name, first, "x.yaml")
    if marked == data and "state" not in values(data)[name]:
        return
    assert set_state(set_state(marked, name, second, "x.yaml"), name, first, "x.yaml") == marked


def values(data: bytes) -> dict[str, dict[str, object]]:
    return {value["name"]: value for value in (document.value() for document in documents.read("x.yaml", data))}
