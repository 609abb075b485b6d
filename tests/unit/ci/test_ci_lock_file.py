"""The lock file: what stands in it, what stays, what goes, and that nothing else is ever written over."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hostile import HOSTILE
from ruamel.yaml import YAML

from reconciler.ci.lock import produced, updated
from reconciler.errors import ReconcilerError
from reconciler.observe.state import ObservedJob
from reconciler.spec.desired import DataFile, Desired

SPEC = Desired("a", "0123456789abcdef", "m", DataFile("data/a.jsonl", "d" * 64, 1, 1), "file-v")
JOB = ObservedJob("ftjob-1", "a", SPEC.revision, 2, "succeeded", 0, "m", "ft:m:1", finished_at=86_400)
FULL = """\
# Written by reconciler ci: the model that each spec has produced. What is edited here is lost.
"a":
  model: "ft:m:1"
  revision: "0123456789abcdef.2"
  job: "ftjob-1"
  training_file: "sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
  validation_file: "file-v"
  finished_at: "1970-01-02T00:00:00Z"
"""


def text(old: str | None, *pairs: tuple[Desired, ObservedJob | None]) -> str | None:
    specs = [spec for spec, _ in pairs]
    return updated(old, produced(specs, {spec.name: job for spec, job in pairs}), "models.yaml")


def test_everything_in_it_is_the_jobs_or_the_specs_own() -> None:
    assert text(None, (SPEC, JOB)) == FULL
    assert text(FULL, (SPEC, JOB)) == FULL


@pytest.mark.parametrize("job", [None, replace(JOB, status="running", fine_tuned_model=None, revision="f" * 16)])
def test_a_spec_whose_new_revision_has_no_model_yet_keeps_the_one_before(job: ObservedJob | None) -> None:
    assert text(FULL, (replace(SPEC, revision="f" * 16), job)) == FULL


def test_a_new_model_takes_the_place_of_the_one_before() -> None:
    assert text(FULL, (SPEC, replace(JOB, id="ftjob-2", fine_tuned_model="ft:m:2"))) == (
        FULL.replace("ft:m:1", "ft:m:2").replace("ftjob-1", "ftjob-2")
    )


def test_a_name_without_a_spec_is_left_out_and_names_are_in_order() -> None:
    def named(name: str) -> tuple[Desired, ObservedJob]:
        return replace(SPEC, name=name), replace(JOB, name=name)

    said = text(FULL, named("c"), named("b"))
    assert said is not None
    assert list(YAML(typ="safe").load(said)) == ["b", "c"]
    assert text(said) == f"{FULL.splitlines()[0]}\n{{}}\n"


@pytest.mark.parametrize("moment", [-1, 10**18, 10**30])
def test_a_moment_that_no_calendar_has_is_no_reason_to_fail(moment: int) -> None:
    said = text(None, (SPEC, replace(JOB, finished_at=moment)))
    assert said is not None
    assert text(said, (SPEC, None)) == said


def test_nothing_is_written_before_there_is_a_model() -> None:
    assert text(None, (SPEC, None)) is None


@pytest.mark.parametrize(
    "old", ["", "a: 1\n", FULL.split("\n", 1)[1], f"{FULL}b: 1\n", f"{FULL}  other: x\n", f"{FULL}\t- [\n", FULL + FULL]
)
def test_what_is_no_lock_file_is_left_as_it_is(old: str) -> None:
    with pytest.raises(ReconcilerError, match=r"models\.yaml is no lock file"):
        text(old, (SPEC, JOB))


@pytest.mark.parametrize("word", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_model_is_read_as_the_server_said_it_or_is_not_there(word: str) -> None:
    said = text(None, (SPEC, replace(JOB, fine_tuned_model=word)))
    if not word.isprintable():
        assert said is None
    else:
        assert said is not None
        assert said.isascii()
        assert YAML(typ="safe").load(said)["a"]["model"] == word
        assert text(said, (SPEC, None)) == said
