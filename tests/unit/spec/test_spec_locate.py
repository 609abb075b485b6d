"""A name on the command line means one spec, whose state stands in its file; all else is refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from spec_support import Write, spec

from reconciler.errors import SpecError, UsageError
from reconciler.spec.desired import State
from reconciler.spec.load import gather
from reconciler.spec.locate import Place, locate

MATRIX = spec("units", "matrix: {hyperparameters.n_epochs: [1, 2]}")


def located(root: Path, *names: str, state: State = "paused", environment: str | None = None) -> list[Place]:
    found = gather(["."], environment=environment, cwd=root)
    assert found.specs.problems == []
    return locate(names, found.specs.drafts, state)


def test_a_name_means_the_spec_in_its_file(write: Write) -> None:
    root = write({"specs.yaml": spec("a", "state: cancelled") + "---\n" + spec("b")})
    places = located(root, "b", "a")
    assert [(p.name, p.file.shown_as, p.state, p.jobs) for p in places] == [
        ("b", "specs.yaml", "running", ("b",)),
        ("a", "specs.yaml", "cancelled", ("a",)),
    ]


def test_a_matrix_is_named_by_its_spec_and_stands_for_all_combinations(write: Write) -> None:
    assert located(write({"units.yaml": MATRIX}), "units")[0].jobs == ("units-1", "units-2")


REFUSED = {
    "an unknown name": ({"a.yaml": spec("inbox")}, ["inbx"], "No spec is named 'inbx'; did you mean 'inbox'?"),
    "a name like no other": ({"a.yaml": spec("inbox")}, ["q"], "No spec is named 'q'."),
    "one combination": (
        {"units.yaml": MATRIX},
        ["units-2"],
        "units-2 is one of 2 jobs that the matrix of 'units' makes (units.yaml:1): they share one state.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_name_that_means_no_spec_is_refused(write: Write, case: str) -> None:
    files, names, words = REFUSED[case]
    with pytest.raises(UsageError) as caught:
        located(write(files), *names)
    assert str(caught.value) == words


def test_a_state_from_the_matrix_is_refused_at_its_place(write: Write) -> None:
    root = write({"a.yaml": spec("a", "matrix: {state: [paused, running]}")})
    with pytest.raises(SpecError) as caught:
        located(root, "a")
    assert str(caught.value) == "\n".join(
        f"a.yaml:4:{column}: state: is set by the matrix; edit it there" for column in (18, 26)
    )


@pytest.mark.parametrize("override", ["paused", "null"])
def test_a_state_from_the_environment_is_refused_at_its_place(write: Write, override: str) -> None:
    settings = f"owner: test\nenvironments:\n  prod:\n    overrides:\n      state: {override}\n  test: {{}}\n"
    root = write({"reconciler.yaml": settings, "a.yaml": spec("a", "state: running")})
    with pytest.raises(SpecError) as caught:
        located(root, "a", environment="prod")
    assert str(caught.value) == (
        "reconciler.yaml:5:7: state: is set here for every spec of prod; what a.yaml says has no effect"
    )
    assert len(located(root, "a", environment="test")) == 1


def test_what_is_protected_is_paused_but_not_cancelled(write: Write) -> None:
    root = write({"a.yaml": spec("a", "protect: true"), "b.yaml": spec("b")})
    assert len(located(root, "a", state="paused")) == 1
    with pytest.raises(SpecError) as caught:
        located(root, "b", "a", state="cancelled")
    assert str(caught.value) == "a.yaml:4:10: protect: true: a is never cancelled; set it to false first"


def test_one_name_of_many_specs_is_refused(write: Write) -> None:
    other = spec("units", "matrix: {hyperparameters.n_epochs: [3]}")
    root = write({"units.yaml": MATRIX, "more.yaml": other})
    with pytest.raises(SpecError) as caught:
        located(root, "units")
    assert str(caught.value).splitlines()[0] == "more.yaml:1:7: name: 'units' is many specs"
