"""The flat form and the create body say the same, and say all that design promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spec_support import Write, desired, refused, spec

from reconciler.errors import SpecError
from reconciler.spec.desired import Adopt, Source, Upstream
from reconciler.spec.documents import read
from reconciler.spec.gather import Gatherer
from reconciler.spec.model import Spec, canonical
from reconciler.spec.tree import SpecFile

FULL = """\
name: triage
model: gpt-4.1-mini-2025-04-14
training_file: data/train.jsonl
validation_file: file-abc123
suffix: triage
seed: 7
method: supervised
hyperparameters: {n_epochs: 3, batch_size: auto, learning_rate_multiplier: 1}
wandb: {project: triage, entity: acme, name: triage-v1, tags: [prod]}
metadata: {team: support}
state: paused
replace: wait
retry: {limit: 2}
protect: true
priority: 5
rerun: "2026-11"
adopt: {job: ftjob-1, revision: 0123456789abcdef}
permissions: [proj_1]
"""
FLAT_RFT = """\
method: reinforcement
hyperparameters: {n_epochs: 2, reasoning_effort: low, eval_samples: auto}
grader: {type: string_check, name: g, input: "{{sample.output_text}}", reference: "{{item.answer}}", operation: eq}
response_format: {type: json_schema, json_schema: {name: r, schema: {enum: [null, 1]}}}
"""
BODY_RFT = """\
method:
  type: reinforcement
  reinforcement:
    response_format: {json_schema: {schema: {enum: [null, 1]}, name: r}, type: json_schema}
    grader: {type: string_check, name: g, input: "{{sample.output_text}}", reference: "{{item.answer}}", operation: eq}
    hyperparameters: {n_epochs: 2, reasoning_effort: low, batch_size: auto, eval_interval: null}
"""


def test_every_field_arrives(write: Write) -> None:
    [job] = desired(write({"specs/full.yaml": FULL.replace("data/", "../data/")})).values()
    assert job.model == "gpt-4.1-mini-2025-04-14"
    assert job.validation_file == "file-abc123"
    assert [(f.path, f.rows) for f in job.files] == [("data/train.jsonl", 10)]
    assert job.method == {
        "type": "supervised",
        "supervised": {"hyperparameters": {"n_epochs": 3, "learning_rate_multiplier": 1.0}},
    }
    assert job.integrations == (
        {"type": "wandb", "wandb": {"project": "triage", "entity": "acme", "name": "triage-v1", "tags": ["prod"]}},
    )
    assert (job.suffix, job.seed, job.metadata, job.rerun) == ("triage", 7, {"team": "support"}, "2026-11")
    assert (job.state, job.replace, job.retry_limit, job.protect, job.priority) == ("paused", "wait", 2, True, 5)
    assert (job.adopt, job.permissions) == (Adopt("ftjob-1", "0123456789abcdef"), ("proj_1",))
    assert job.source == Source("specs/full.yaml", 1, 1)


def test_what_is_left_out_is_left_to_the_server(write: Write) -> None:
    [job] = desired(
        write({"a.yaml": spec("a", "hyperparameters: {n_epochs: auto}", "suffix:", "wandb: null")})
    ).values()
    assert job.method == {"type": "supervised"}
    assert (job.suffix, job.seed, job.integrations, job.metadata) == (None, None, (), {})


@pytest.mark.parametrize(
    ("flat", "body"),
    [
        (FLAT_RFT, BODY_RFT),
        (
            "hyperparameters: {n_epochs: 3}",
            "method: {type: supervised, supervised: {hyperparameters: {n_epochs: 3.0}}}",
        ),
        ("", "method: {type: supervised}"),
        ("method: supervised", "method: {type: supervised, supervised: {hyperparameters: {n_epochs: auto}}}"),
        (
            "method: dpo\nhyperparameters: {beta: 1}",
            "method: {type: dpo, dpo: {hyperparameters: {beta: 1.0}}, supervised: null}",
        ),
        ("wandb: {project: x}", "integrations: [{type: wandb, wandb: {project: x}}]"),
    ],
    ids=["reinforcement", "supervised", "nothing", "auto", "dpo", "wandb"],
)
def test_both_forms_are_one_job_of_one_revision(flat: str, body: str, write: Write) -> None:
    jobs = desired(write({"a.yaml": spec("a", flat), "b.yaml": spec("b", body)}))
    assert jobs["a"].revision == jobs["b"].revision
    assert jobs["a"].method == jobs["b"].method
    assert jobs["a"].integrations == jobs["b"].integrations


@pytest.mark.parametrize(
    ("lines", "digest"),
    [(FULL.split("\n", 3)[3], "29c5ad8caacff661"), (FLAT_RFT, "c5f959811561bf17")],
    ids=["supervised", "reinforcement"],
)
def test_no_change_of_the_model_changes_a_revision(lines: str, digest: str, write: Write) -> None:
    [job] = desired(write({"a.yaml": spec("a", lines)})).values()
    assert job.revision == digest, "A spec that gets another revision is bought again: see reconciler.spec.revision."


def test_nulls_in_a_response_format_are_part_of_it(write: Write) -> None:
    [job] = desired(write({"a.yaml": spec("a", FLAT_RFT)})).values()
    assert job.method["reinforcement"]["response_format"]["json_schema"]["schema"] == {"enum": [None, 1]}


def test_a_chain_names_its_upstream(write: Write) -> None:
    text = "\n---\n".join(
        [
            spec("a"),
            spec("b", model="{job: a}"),
            spec("c", model="{job: a, checkpoint: best}"),
            spec("d", model="{job: b, checkpoint: 7}"),
        ]
    )
    jobs = desired(write({"a.yaml": text}))
    assert [jobs[n].model for n in "bcd"] == [Upstream("a"), Upstream("a", "best"), Upstream("b", 7)]
    assert len({job.revision for job in jobs.values()}) == 4


LINES = [line for line in FULL.splitlines() if not line.startswith("adopt")]


@given(st.permutations(LINES), st.booleans())
def test_the_order_of_keys_never_matters(lines: list[str], comments: bool) -> None:
    text = "\n".join(f"{line}  # why" if comments else line for line in lines)
    [shuffled] = read("f", text.encode())
    [straight] = read("f", "\n".join(LINES).encode())
    assert Spec.model_validate(canonical(shuffled.value()).body) == Spec.model_validate(
        canonical(straight.value()).body
    )


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted({*Spec.model_fields, "hyperparameters", "grader", "response_format", "wandb", "matrix", "other"})


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6))
def test_any_value_of_any_field_is_taken_or_refused_in_words(raw: dict[str, Any]) -> None:

    gatherer = Gatherer(Path("/"), None)
    gatherer.read(SpecFile("/f.yaml", "f.yaml"), json.dumps(raw).encode())
    said = str(SpecError(gatherer.problems)) if gatherer.problems else ""
    assert bool(gatherer.drafts) is not bool(said)
    assert "function-" not in said
    assert "Input should" not in said


def test_one_fault_is_said_once_for_all_combinations_of_a_matrix(write: Write) -> None:
    root = write({"a.yaml": spec("a", "state: of", "matrix: {seed: [1, 2, 3]}")})
    assert refused(root) == ["a.yaml:4:8: state: must be one of running, paused, cancelled, not 'of'"]
