"""`reconciler import`: what it chooses, what it calls things, what it writes, and what it refuses."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from museum import OWNER, THEIRS, Cli, Document, job, owned, rows


def imported(done: Any) -> dict[str, str]:
    return {each["job_id"][6:10]: each["name"] for each in done["imported"]}


def skipped(done: Any) -> dict[str, str]:
    return {each["job_id"][6:10]: each["reason"] for each in done["skipped"]}


# What is written


def test_a_spec_says_where_it_came_from_and_reads_as_people_write(cli: Cli) -> None:
    cli.museum.jobs = [job(metadata={"team": "support"}, validation_file="file-valid", method=None)]
    revision = cli.json("import", "ftjob-0001AbC")["imported"][0]["revision"]
    assert (
        cli.spec("triage")
        == f"""\
# Imported from ftjob-0001AbC: succeeded, created 2025-06-15 15:06:41 UTC.
# Its model: ft:gpt-4.1-mini-2025-04-14:acme:triage:0001AbC
name: triage
model: gpt-4.1-mini-2025-04-14
training_file: file-train
validation_file: file-valid
suffix: triage
seed: 42
method: supervised
hyperparameters: {{n_epochs: 3, batch_size: 1, learning_rate_multiplier: 1.8}}
metadata:
  team: support
adopt: {{job: ftjob-0001AbC, revision: {revision}}}
"""
    )


def test_source_code_is_written_as_a_block(cli: Cli) -> None:
    grader = {"type": "python", "name": "g", "source": "def grade(sample, item):\n    return 1.0\n"}
    method = {"type": "reinforcement", "reinforcement": {"grader": grader}}
    cli.museum.jobs = [job(method=method, hyperparameters=None)]
    cli.json("import", "--unowned")
    assert "  source: |\n    def grade(sample, item):\n        return 1.0\n" in cli.spec("triage")


def test_what_a_server_says_stays_inside_of_its_comment(cli: Cli) -> None:
    error = {"code": "x", "message": "bad\nstate: running\u2028name: other\x85\ufffe\x1b[31m", "param": None}
    cli.museum.jobs = [job(status="failed", error=error)]
    cli.json("import", "--unowned")
    text = cli.spec("triage")
    assert text.startswith("# Imported from ftjob-0001AbC: failed,")
    assert "# It failed (x: bad state: running name: other" in text
    assert text.count("\nname: ") == 1
    assert "state: cancelled" in text


def test_what_is_left_out_is_named_in_the_spec_and_in_the_report(cli: Cli) -> None:
    settings = {"hyperparameters": {"n_epochs": 2, "warmup": 1}, "packing": True}
    cli.museum.jobs = [job(method={"type": "supervised", "supervised": settings})]
    done = cli.json("import", "--unowned")
    assert done["imported"][0]["left_out"] == ["method.supervised.packing", "hyperparameters.warmup"]
    text = cli.spec("triage")
    assert "# Left out, since a spec cannot say it: method.supervised.packing, hyperparameters.warmup\n" in text


def test_many_specs_go_to_one_file_where_out_is_one(cli: Cli) -> None:
    cli.museum.jobs = [job(1), job(2)]
    cli.json("import", "--unowned", "--out", "specs/old/all.yaml")
    assert [path.name for path in (cli.root / "specs").rglob("*") if path.is_file()] == ["all.yaml"]
    assert set(cli.plan().values()) == {"none"}


def test_no_file_is_overwritten(cli: Cli) -> None:
    (cli.root / "specs").mkdir()
    (cli.root / "specs/triage.yaml").write_text("# mine\n")
    cli.museum.jobs = [job()]
    assert "exists, and is not overwritten" in fails(cli, 64, "--unowned", "--out", "specs/triage.yaml")
    assert cli.json("import", "--unowned")["imported"][0]["file"] == "specs/triage-2.yaml"
    assert cli.spec("triage") == "# mine\n"


def fails(cli: Cli, code: int, *arguments: str) -> str:
    return cli.text("import", *arguments, code=code) + cli.err


def test_specs_that_the_paths_do_not_reach_are_said(cli: Cli) -> None:
    cli.museum.jobs = [job()]
    assert "triage: its file is not among specs" in fails(cli, 1, "--unowned", "--out", "elsewhere")


def test_a_directory_made_for_nothing_goes_again(cli: Cli) -> None:
    assert "0 specs written" in cli.text("import", "--unowned")
    assert not (cli.root / "specs").exists()


# Names


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"user_provided_suffix": "My Model: v2.0"}, "my-model-v2-0"),
        ({"user_provided_suffix": "Übersicht-模型"}, "ubersicht"),
        ({"user_provided_suffix": "模型"}, "gpt-4-1-mini"),
        ({"user_provided_suffix": None}, "triage"),
        ({"user_provided_suffix": None, "fine_tuned_model": None}, "gpt-4-1-mini"),
        ({"user_provided_suffix": None, "fine_tuned_model": None, "metadata": {"name": "Tickets, EU"}}, "tickets-eu"),
        ({"metadata": {"reconciler.name": "before"}}, "before"),
        ({"fine_tuned_model": None, "user_provided_suffix": None, "model": "org/Llama-3.1-8B"}, "llama-3-1-8b"),
        ({"fine_tuned_model": None, "user_provided_suffix": None, "model": "ft:gpt-4o-0513:a:b:c"}, "gpt-4o"),
        ({"fine_tuned_model": None, "user_provided_suffix": None, "model": "模型"}, "job"),
        ({"user_provided_suffix": "s" * 64}, "s" * 63),
    ],
)
def test_a_name_is_derived(cli: Cli, fields: Document, name: str) -> None:
    cli.museum.jobs = [job(**fields)]
    assert imported(cli.json("import", "--unowned")) == {"0001": name}


def test_a_name_that_is_taken_gets_the_end_of_the_jobs_id(cli: Cli) -> None:
    cli.museum.jobs = [job(1), job(2), job(3, user_provided_suffix="s" * 64), job(4, user_provided_suffix="s" * 64)]
    names = imported(cli.json("import", "--unowned"))
    assert names == {"0001": "triage", "0002": "triage-002abc", "0003": "s" * 63, "0004": f"{'s' * 56}-004abc"}
    assert set(cli.plan().values()) == {"none"}


def test_ids_that_end_alike_still_get_names_of_their_own(cli: Cli) -> None:
    cli.museum.jobs = [job(n, id=f"ftjob-{n}-same-end") for n in range(1, 5)]
    names = [each["name"] for each in cli.json("import", "--unowned")["imported"]]
    assert names == ["triage", "triage-me-end", "triage-me-end-2", "triage-me-end-3"]


def test_a_single_job_can_be_named(cli: Cli) -> None:
    cli.museum.jobs = [job(1), job(2)]
    assert "can name one job, not 2" in fails(cli, 64, "--unowned", "--name", "mine")
    assert imported(cli.json("import", "ftjob-0001AbC", "--name", "mine")) == {"0001": "mine"}
    assert "There is a spec named mine already" in fails(cli, 64, "ftjob-0002AbC", "--name", "mine")
    assert "name must be 1 to 63 lower-case" in fails(cli, 1, "ftjob-0002AbC", "--name", "Not Valid")


def test_the_name_of_an_active_job_of_ours_is_not_taken_since_its_spec_would_replace_it(cli: Cli) -> None:
    cli.museum.jobs = [owned(1, OWNER, status="running"), job(2)]
    assert imported(cli.json("import", "--unowned")) == {"0002": "triage-002abc"}


# Which jobs


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--unowned"], {"0001", "0002"}),
        (["--metadata", "team=a"], {"0001"}),
        (["--metadata", "team=a", "--metadata", "env=x"], set()),
        (["--metadata", "team=a", "--take-over", THEIRS], {"0003"}),
        (["--take-over", THEIRS], {"0003"}),
        (["ftjob-0002AbC", "ftjob-0001AbC", "ftjob-0002AbC"], {"0001", "0002"}),
        (["ftjob-0003AbC", "--take-over", THEIRS], {"0003"}),
        (["ftjob-0004AbC"], {"0004"}),
    ],
)
def test_jobs_are_chosen_by_id_metadata_and_owner(cli: Cli, arguments: list[str], found: set[str]) -> None:
    cli.museum.jobs = [job(1, metadata={"team": "a"}), job(2), owned(3), owned(4, OWNER, "gone")]
    assert set(imported(cli.json("import", *arguments))) == found


def test_jobs_of_other_owners_are_passed_over_and_counted(cli: Cli) -> None:
    cli.museum.jobs = [job(1, metadata={"team": "a"}), owned(2)]
    assert "1 of other owners passed over; see --take-over" in cli.text("import", "--metadata", "team=a")


@pytest.mark.parametrize("status", ["running", "succeeded"])
def test_a_job_of_another_owner_needs_the_flag(cli: Cli, status: str) -> None:
    cli.museum.jobs = [owned(status=status)]
    done = cli.json("import", "ftjob-0001AbC", code=1)
    assert skipped(done) == {
        "0001": f"is {status} and belongs to {THEIRS} (to act on it all the same: --take-over {THEIRS})"
    }


@pytest.mark.parametrize("arguments", [["ftjob-0001AbC"], ["--metadata", "team=a"]])
def test_a_job_that_claims_our_owner_and_cannot_be_read_is_left_alone(cli: Cli, arguments: list[str]) -> None:
    cli.museum.jobs = [owned(owner=OWNER, revision="?")]
    done = cli.json("import", *arguments, code=1)
    assert "claims our owner, but cannot be read" in skipped(done)["0001"]
    assert done["imported"] == []


def test_what_was_imported_is_not_imported_again(cli: Cli) -> None:
    cli.museum.jobs = [job()]
    cli.json("import", "--unowned")
    done = cli.json("import", "ftjob-0001AbC")
    assert (done["imported"], done["skipped"]) == ([], [])
    assert done["known"] == [{"job_id": "ftjob-0001AbC", "reason": "the spec triage adopts it"}]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"method": {"type": "distillation"}}, "its method is 'distillation'"),
        ({"metadata": {str(n): "v" for n in range(14)}}, "metadata must have at most 13 entries"),
        ({"metadata": {"a": "two\nlines"}}, "must be one line"),
        ({"metadata": {"a": "bell \x07"}}, "no YAML file can hold"),
        (
            {"method": {"type": "reinforcement", "reinforcement": {"grader": {"type": "label_model", "name": "l"}}}},
            "label_model",
        ),
        ({"method": {"type": "reinforcement", "reinforcement": {}}}, "grader"),
        ({"hyperparameters": {"n_epochs": 500}, "method": None}, "hyperparameters.n_epochs must be at most 50"),
        ({"seed": 2**40}, "seed must be"),
        ({"training_file": None}, "it names no training file"),
        ({"training_file": "ds_12/v3"}, "'ds_12/v3' is no file id (file-...); --download saves its content"),
        ({"training_file": "../etc"}, "is no file id"),
    ],
)
def test_what_no_spec_can_say_is_skipped_and_the_others_are_written(cli: Cli, fields: Document, reason: str) -> None:
    cli.museum.jobs = [job(1, **fields), job(2)]
    done = cli.json("import", "--unowned", code=1)
    assert imported(done) == {"0002": "triage"}
    assert reason in skipped(done)["0001"]
    assert cli.plan() == {"triage": "none"}
    assert "skipped ftjob-0001AbC: " in cli.text("import", "--unowned", code=1)


def test_what_this_repository_does_not_allow_is_skipped_and_its_model_named_outright(cli: Cli) -> None:
    (cli.root / "reconciler.yaml").write_text(f"owner: {OWNER}\npolicy: {{allowed_models: ['ft:*']}}\n")
    cli.museum.jobs = [job(1), job(2, model=job(1)["fine_tuned_model"], user_provided_suffix="next")]
    done = cli.json("import", "--unowned", code=1)
    assert imported(done) == {"0002": "next"}
    assert "is not allowed here" in skipped(done)["0001"]
    assert f"model: {job(1)['fine_tuned_model']}\n" in cli.spec("next")


def test_a_job_starts_from_the_model_of_a_spec_that_was_here_before(cli: Cli) -> None:
    cli.museum.jobs = [job(1)]
    cli.json("import", "--unowned")
    cli.museum.jobs.append(job(2, model=job(1)["fine_tuned_model"], user_provided_suffix="next"))
    cli.json("import", "--unowned")
    assert "model: {job: triage}\n" in cli.spec("next")
    assert cli.plan() == {"triage": "none", "next": "none"}


@pytest.mark.parametrize(
    "makers",
    [
        [job(1), job(2, fine_tuned_model=job(1)["fine_tuned_model"])],  # two claim it
        [job(4)],  # made later than what starts from it
    ],
    ids=["two", "later"],
)
def test_a_model_that_nobody_surely_made_is_named_outright(cli: Cli, makers: list[Document]) -> None:
    model = makers[0]["fine_tuned_model"]
    cli.museum.jobs = sorted([*makers, job(3, model=model, user_provided_suffix="next")], key=lambda j: j["created_at"])
    cli.json("import", "--unowned")
    assert f"\nmodel: {model}\n" in cli.spec("next")


def test_a_server_without_checkpoints_has_no_chains_from_them(cli: Cli) -> None:
    model = f"{job(1)['fine_tuned_model']}:ckpt-step-5"
    cli.museum.closed = {"/checkpoints"}
    cli.museum.jobs = [job(1), job(2, model=model, user_provided_suffix="next")]
    cli.json("import", "--unowned")
    assert f"\nmodel: {model}\n" in cli.spec("next")
    assert cli.plan() == {"triage": "none", "next": "none"}


def test_an_environment_gives_the_revision_that_its_specs_have(cli: Cli) -> None:
    environments = "environments: {test: {overrides: {seed: 7, metadata: {stage: test}}}}"
    (cli.root / "reconciler.yaml").write_text(f"owner: {OWNER}\n{environments}\n")
    cli.museum.jobs = [job()]
    cli.json("import", "--unowned", "--environment", "test")
    assert cli.plan("--environment", "test") == {"triage": "none"}


# Data


def test_data_is_saved_once_by_its_content(cli: Cli) -> None:
    cli.museum.jobs = [job(1, validation_file="file-valid"), job(2)]
    cli.json("import", "--unowned", "--download", "--out", "specs/deep")
    digest = hashlib.sha256(rows()).hexdigest()[:16]
    saved = {path.name: path.read_bytes() for path in (cli.root / "specs/deep/data").iterdir()}
    assert saved[f"file-train-of-ours.{digest}.jsonl"] == rows()
    assert len(saved) == 2
    assert f"training_file: data/file-train-of-ours.{digest}.jsonl\n" in cli.spec("deep/triage")
    assert set(cli.plan().values()) == {"none"}


def test_an_id_that_no_spec_can_hold_is_no_obstacle_once_its_data_is_here(cli: Cli) -> None:
    cli.museum.content["ds:12"] = rows()
    cli.museum.jobs = [job(training_file="ds:12")]
    assert imported(cli.json("import", "--unowned", "--download")) == {"0001": "triage"}
    assert cli.plan() == {"triage": "none"}


@pytest.mark.parametrize(("content", "why"), [(None, "no such object"), (b"", "has 0 bytes")])
def test_data_that_cannot_be_had_stays_an_id(cli: Cli, content: bytes | None, why: str) -> None:
    cli.museum.content = {} if content is None else {"file-train": content}
    cli.museum.jobs = [job()]
    done = cli.json("import", "--unowned", "--download")
    assert why in done["missing_files"][0]["reason"]
    assert "training_file: file-train\n" in cli.spec("triage")
    assert not list(cli.root.rglob("*.jsonl"))
    assert not list(cli.root.rglob(".download*"))
    assert cli.plan() == {"triage": "none"}


def test_a_download_that_breaks_off_is_begun_again(cli: Cli) -> None:
    cli.museum.broken = ["/content"]
    cli.museum.jobs = [job()]
    assert cli.json("import", "--unowned", "--download")["missing_files"] == []
    assert cli.museum.broken == []
    assert [path.read_bytes() for path in cli.root.rglob("*.jsonl")] == [rows()]


def test_nothing_is_written_where_nothing_can_be(cli: Cli) -> None:
    (cli.root / "specs").mkdir()
    (cli.root / "specs/sub").write_text("")
    cli.museum.jobs = [job()]
    for more in ([], ["--download"]):
        assert "Cannot write" in fails(cli, 64, "--unowned", "--out", "specs/sub/deep", *more)


def test_data_of_that_name_with_other_content_is_kept_and_not_used(cli: Cli) -> None:
    name = f"file-train-of-ours.{hashlib.sha256(rows()).hexdigest()[:16]}.jsonl"
    (cli.root / "specs/data").mkdir(parents=True)
    (cli.root / "specs/data" / name).write_bytes(rows(20))
    cli.museum.jobs = [job()]
    done = cli.json("import", "--unowned", "--download")
    assert "its content is not what its name says" in done["missing_files"][0]["reason"]
    assert (cli.root / "specs/data" / name).read_bytes() == rows(20)


# Usage


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "Say which jobs"),
        (["specs"], "Say which jobs"),
        (["ftjob-1", "--unowned"], "Say which jobs"),
        (["ftjob-1", "--metadata", "a=b"], "Say which jobs"),
        (["--metadata", "team"], "must be KEY=VALUE"),
        (["--unowned", "--take-over", "x"], "exclude each other"),
        (["-", "--unowned"], "Specs cannot be added to what comes through a pipe"),
        (["--unowned", "./nowhere"], "There is no file or directory"),
    ],
)
def test_wrong_usage_is_explained(cli: Cli, arguments: list[str], why: str) -> None:
    assert why in fails(cli, 64, *arguments)


def test_an_id_that_nobody_knows_is_skipped(cli: Cli) -> None:
    cli.museum.jobs = [job()]
    done = cli.json("import", "ftjob-0001AbC", "ftjob-gone", code=1)
    assert imported(done) == {"0001": "triage"}
    assert "no such object" in done["skipped"][0]["reason"]
