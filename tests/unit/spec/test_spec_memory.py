"""What is remembered of files spares work, and is never seen in what comes out."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.data.files import DataFiles
from reconciler.errors import Problem, SpecError
from reconciler.spec.desired import Desired
from reconciler.spec.load import Memory, Repository, gather, resolve
from reconciler.spec.memo import Memo

ROW = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
FILES = ("specs/a.yaml", "specs/b.yaml", "specs/team/c.yaml", "specs/team/d.yml")
LONG_AGO = 1_000_000_000


def spec(name: str, *lines: str, model: str = "m") -> str:
    return "\n".join([f"name: {name}", f"model: {model}", "training_file: train.jsonl", *lines, ""])


def good(name: str) -> st.SearchStrategy[str]:
    """Specs of one name, most of one length."""
    others = st.sampled_from([other for other in "abcd" if other != name])
    return st.one_of(
        st.builds(lambda seed: spec(name, f"seed: {seed}"), st.integers(0, 9)),
        st.builds(lambda on: spec(name, model=f"{{job: {on}}}"), others),
        st.builds(lambda on: spec(name, model=f"{{job: {on}-1, checkpoint: best}}"), others),
        st.builds(lambda top: spec(name, f"matrix: {{seed: {list(range(1, top))}}}"), st.integers(2, 4)),
        st.builds(lambda seed: f"{spec(name)}---\n# second\n{spec(f'{name}2', f'seed: {seed}')}", st.integers(0, 9)),
    )


BAD = st.sampled_from(
    ["", "# nothing\n", "name: [", "- a\n", spec("a", "sead: 1"), "name: b\n", "\xff", "%YAML 1.2\n", spec("c")]
)
SETTINGS = st.builds(
    lambda models, seed: (
        f"owner: test\npolicy: {{allowed_models: [{models}]}}\n"
        f"environments: {{prod: {{overrides: {{seed: {seed}}}}}}}\n"
    ),
    st.sampled_from(["m", "'*'", "n"]),
    st.integers(0, 1),
)
EDITS = st.one_of(
    *(st.tuples(st.just(file), good(name)) for file, name in zip(FILES, "abcd", strict=True)),
    *(st.tuples(st.just(file), good(name)) for file, name in zip(FILES, "abcd", strict=True)),
    st.tuples(st.sampled_from(FILES), BAD),
    st.tuples(st.sampled_from(FILES), st.none()),
    st.tuples(st.sampled_from(FILES), st.sampled_from(FILES)),
    st.tuples(st.just("reconciler.yaml"), SETTINGS),
    st.tuples(st.just("specs/train.jsonl"), st.sampled_from([ROW * 10, ROW * 11, "{}\n", None])),
)


def edit(root: Path, where: str, what: str | None) -> None:
    """Write a file, delete it, or rename it to another; it is always as old as before."""
    file = root / where
    if what is None:
        file.unlink(missing_ok=True)
    elif what in FILES:
        if file.exists():
            file.replace(root / what)
    else:
        file.write_text(what, encoding="latin-1")
        os.utime(file, (LONG_AGO, LONG_AGO))


def loaded(root: Path, environment: str | None, memory: Memory | None) -> Repository | list[Problem]:
    try:
        found = gather(["specs"], environment=environment, cwd=root, memory=memory)
        return resolve(found, DataFiles(root), memory)
    except SpecError as error:
        return error.problems


@given(st.lists(EDITS, min_size=1, max_size=12), st.sampled_from([None, "prod"]))
@settings(database=None, deadline=None, max_examples=80)
def test_whatever_is_edited_what_is_remembered_gives_what_a_fresh_look_gives(
    edits: list[tuple[str, str | None]], environment: str | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, memory = Path(folder), Memory()
        (root / "specs/team").mkdir(parents=True)
        edit(root, "reconciler.yaml", "owner: test\nenvironments: {prod: {}}\n")
        for data in ("specs/train.jsonl", "specs/team/train.jsonl"):
            edit(root, data, ROW * 10)
        for file, name in zip(FILES, "abcd", strict=True):
            edit(root, file, spec(name, model="{job: a}" if name == "b" else "m"))
        for where, what in edits:
            edit(root, where, what)
            assert loaded(root, environment, memory) == loaded(root, environment, None)


def test_only_what_changed_and_what_is_built_on_it_is_made_again(tmp_path: Path) -> None:
    memory = Memory()
    (tmp_path / "specs").mkdir()
    edit(tmp_path, "reconciler.yaml", "owner: test\n")
    edit(tmp_path, "specs/train.jsonl", ROW * 10)
    edit(tmp_path, "specs/a.yaml", spec("a"))
    edit(tmp_path, "specs/b.yaml", spec("b"))
    edit(tmp_path, "specs/c.yaml", spec("c", model="{job: a}"))

    def desired() -> list[Desired]:
        found = loaded(tmp_path, None, memory)
        assert isinstance(found, Repository)
        return list(found.desired)

    before = desired()
    edit(tmp_path, "specs/a.yaml", spec("a", "seed: 1"))
    assert [now is then for now, then in zip(desired(), before, strict=True)] == [False, True, False]


def test_a_memo_forgets_what_a_round_does_not_ask_for() -> None:
    memo, made = Memo[str](), list[str]()

    def make(key: str) -> str:
        made.append(key)
        return key

    for keys in ("ab", "a", "ab"):
        memo.begin()
        for key in keys:
            memo.get(key, "the same", lambda key=key: make(key))  # type: ignore[misc]
    assert "".join(made) == "abb"


def test_a_memo_makes_anew_what_is_made_of_something_else() -> None:
    memo = Memo[int]()
    found: list[int] = []
    for number in (1, 1, 2):
        memo.begin()
        found.append(memo.get("key", number, lambda: len(found)))
    assert found == [0, 0, 2]
