"""Whatever job others made, its import leaves nothing to do."""

from __future__ import annotations

from typing import Any

import pytest
from museum import Cli, Document, checkpoint, job

NUMBERS = {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 0.1}
STRING = {
    "type": "string_check",
    "name": "exact",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}
SIMILAR = {
    "type": "text_similarity",
    "name": "near",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "evaluation_metric": "rouge_l",
}
PYTHON = {
    "type": "python",
    "name": "code",
    "source": "def grade(sample, item):\n    # trailing: colon\n\n    return float(sample['output_text'] == '\\t')\n",
    "image_tag": None,
}
PROMPT = [{"role": "user", "content": "Rate {{sample.output_text}}:\n  - from 0\n  - to 1"}]
SCORE = {
    "type": "score_model",
    "name": "judge",
    "model": "gpt-4.1-2025-04-14",
    "input": PROMPT,
    "range": None,
    "sampling_params": {"temperature": 0.0, "seed": None, "top_p": 1.0},
}
LABEL = {
    "type": "label_model",
    "name": "label",
    "model": "gpt-4.1-2025-04-14",
    "input": [{"role": "user", "content": [{"type": "input_text", "text": "{{item.answer}}"}], "type": "message"}],
    "labels": ["good", "bad"],
    "passing_labels": ["good"],
}
MULTI = {
    "type": "multi",
    "name": "both",
    "graders": {"exact": STRING, "label": LABEL, "judge": SCORE},
    "calculate_output": "0.5 * exact + 0.25 * label + 0.25 * min(judge, 1)",
}
SINGLE = {"type": "multi", "name": "one", "graders": SIMILAR, "calculate_output": "near ** 2"}
SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "a", "strict": True, "schema": {"type": "object", "enum": [None, {}]}},
}


def of(kind: str, **settings: Any) -> Document:
    return {"method": {"type": kind, kind: {"hyperparameters": NUMBERS, **settings}}}


def graded(grader: Document, **settings: Any) -> Document:
    numbers = {**NUMBERS, "reasoning_effort": "default", "eval_interval": 5, "eval_samples": 1, "compute_multiplier": 1}
    method = {"grader": grader, "hyperparameters": numbers, "response_format": None, **settings}
    return {"model": "o4-mini-2025-04-16", "method": {"type": "reinforcement", "reinforcement": method}}


NAMELESS: Document = {"user_provided_suffix": None, "fine_tuned_model": None}
AZURE: Document = {
    **NAMELESS,
    "model": "gpt-4o-2024-08-06",
    "fine_tuned_model": "gpt-4o-2024-08-06.ft-0123456789abcdef-triage",
    "organization_id": None,
    "result_files": None,
    "method": None,
    "hyperparameters": {"n_epochs": -1, "batch_size": -1, "learning_rate_multiplier": 1},
    "object": "fine_tuning.job",
    "integrations": None,
    "seed": None,
    "error": None,
}
NEBIUS: Document = {
    **AZURE,
    "model": "meta-llama/Llama-3.1-8B-Instruct",
    "fine_tuned_model": None,
    "hyperparameters": {
        "n_epochs": 3,
        "batch_size": 8,
        "learning_rate": 0.00001,
        "lora": True,
        "lora_r": 16,
        "warmup_ratio": 0,
    },
    "trained_steps": 12,
}
SHAPES: dict[str, Document] = {
    "supervised": {},
    "supervised without settings": {"method": {"type": "supervised"}, "hyperparameters": None},
    "settings that are null": {"method": {"type": "supervised", "supervised": None, "dpo": None}},
    "dpo": of("dpo", hyperparameters={**NUMBERS, "beta": 0.1}),
    "dpo left to the server": of("dpo", hyperparameters={"beta": "auto", "n_epochs": "auto"}),
    "string check": graded(STRING),
    "text similarity": graded(SIMILAR),
    "python grader": graded(PYTHON),
    "score model": graded(SCORE),
    "score model with a range": graded({**SCORE, "range": [0, 10]}),
    "multi grader": graded(MULTI),
    "multi grader of one": graded(SINGLE),
    "label model inside a multi grader": graded(
        {"type": "multi", "name": "m", "graders": {"l": LABEL}, "calculate_output": "l"}
    ),
    "response format": graded(STRING, response_format=SCHEMA),
    "a grader with a key nobody knows": graded({**STRING, "id": "grader-1"}),
    "old hyperparameters": {"method": None, "hyperparameters": NUMBERS},
    "old hyperparameters beside a bare method": {"method": {"type": "supervised"}, "hyperparameters": NUMBERS},
    "old hyperparameters, not chosen yet": {
        "method": None,
        "hyperparameters": {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"},
    },
    "no hyperparameters at all": {"method": None, "hyperparameters": None},
    "a tiny learning rate": of("supervised", hyperparameters={"learning_rate_multiplier": 1e-05}),
    "a hyperparameter nobody knows": of("supervised", hyperparameters={**NUMBERS, "warmup": 0.1}),
    "a setting nobody knows": of("supervised", packing=True),
    "validation file": {"validation_file": "file-valid"},
    "no seed": {"seed": None},
    "seed zero": {"seed": 0},
    "wandb": {"integrations": [{"type": "wandb", "wandb": {"project": "p", "entity": None, "run_id": "r-1"}}]},
    "wandb with tags": {
        "integrations": [{"type": "wandb", "wandb": {"project": "p", "name": "n", "tags": ["a", "b"]}}]
    },
    "wandb twice": {"integrations": [{"type": "wandb", "wandb": {"project": p}} for p in "ab"]},
    "an integration nobody knows": {"integrations": [{"type": "comet", "comet": {"project": "p"}}]},
    "integrations null": {"integrations": None},
    "metadata at the limit": {"metadata": {f"{n:02}{'k' * 62}": "v" * 512 for n in range(13)}},
    "metadata that looks like something else": {
        "metadata": {
            "a": "1",
            "b": "1e3",
            "c": "true",
            "d": "null",
            "e": "0x1f",
            "f": "2025-01-01",
            "g": "#",
            "h": "- x",
        }
    },
    "metadata in YAML's own words": {
        "metadata": {"a: b": "*x", "&c": "!d", "y": "no", "[": "]", '"': "'", "@": "`", "%": "|", "?": ">", "~": "~"}
    },
    "unicode": {"user_provided_suffix": "Übersicht-模型-🎓", "metadata": {"équipe": "поддержка 🎓", "rtl": "שלום"}},
    "a suffix with spaces": {"user_provided_suffix": "My Model: v2.0 #final"},
    "a suffix that is a number": {"user_provided_suffix": "007"},
    "a suffix of no letters": {"user_provided_suffix": "模型"},
    "the longest suffix": {"user_provided_suffix": "s" * 64},
    "no suffix": NAMELESS,
    "metadata empty": {"metadata": {}},
    "part of our metadata": {"metadata": {"reconciler.name": "Not A Name", "team": "a"}},
    "a name in metadata": {**NAMELESS, "metadata": {"name": "Ticket triage"}},
    "another snapshot": {"model": "gpt-4o-mini"},
    "a model nobody knows": {"model": "ft:gpt-4o:acme:gone:abc:ckpt-step-5"},
    "Azure": AZURE,
    "Nebius": NEBIUS,
    "fields nobody knows": {"shared_with_openai": True, "eval_id": None, "usage_metrics": {"x": [1, None]}},
    "the oldest job": {"created_at": 0},
    "a date beyond calendars": {"created_at": 10**18},
    **{
        f"status {status}": {"status": status, "fine_tuned_model": None, "error": error}
        for status, error in {
            "validating_files": None,
            "queued": None,
            "pending": None,
            "running": None,
            "pausing": None,
            "paused": None,
            "resuming": None,
            "cancelled": None,
            "failed": {"code": "server_error", "message": "went\nwrong\u202e \x1b[31m# -", "param": None},
            "hibernating": None,
        }.items()
    },
    "failed without a reason": {"status": "failed", "fine_tuned_model": None},
}


@pytest.mark.parametrize("download", [False, True], ids=["ids", "data"])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_import_leaves_an_empty_plan(cli: Cli, shape: str, download: bool) -> None:
    cli.museum.jobs = [job(**SHAPES[shape])]
    done = cli.json("import", "--unowned", *(["--download"] if download else []))
    assert [each["job_id"] for each in done["imported"]] == ["ftjob-0001AbC"]
    assert cli.plan() == {done["imported"][0]["name"]: "none"}
    text = cli.text("plan", "--detailed-exitcode")
    assert "No changes" in text
    assert (cli.root / "specs/data").exists() == download


def test_all_shapes_at_once_have_names_of_their_own_and_an_empty_plan(cli: Cli) -> None:
    fields = enumerate(SHAPES.values())
    jobs = [job(number, **{"created_at": 1_700_000_000 + number, **shape}) for number, shape in fields]
    cli.museum.jobs = sorted(jobs, key=lambda document: document["created_at"])
    for number, document in enumerate(cli.museum.jobs):
        document["id"] = f"ftjob-{number:04}AbC"
    done = cli.json("import", "--unowned", "--out", "specs/all.yaml")
    assert len(done["imported"]) == len(SHAPES) > 50
    assert set(cli.plan().values()) == {"none"}
    assert cli.json("import", "--unowned")["imported"] == []


@pytest.mark.parametrize(
    ("status", "selector"), [("succeeded", "last"), ("succeeded", 20), ("cancelled", 20), ("failed", 10)]
)
def test_a_job_that_starts_from_anothers_model_is_chained_to_its_spec(cli: Cli, status: str, selector: Any) -> None:
    base = job(1, status=status)
    steps = [checkpoint(base, step) for step in (0, 10, 20)]
    model = base["fine_tuned_model"] if selector == "last" else steps[selector // 10]["fine_tuned_model_checkpoint"]
    if status != "succeeded":
        base["fine_tuned_model"] = None
    cli.museum.checkpoints = {base["id"]: steps}
    cli.museum.jobs = [base, job(2, model=model, user_provided_suffix="next")]
    cli.json("import", "--unowned")
    assert cli.plan() == {"triage": "none", "next": "none"}
    assert cli.offline("graph", "--format", "json")["edges"] == [
        {"from": "triage", "to": "next", "checkpoint": selector}
    ]
