from __future__ import annotations

import dataclasses

import pytest

from reconciler.report.status import StatusRow, render_status, status_json

NOW = 1_772_000_000.0
DONE = StatusRow(
    "triage", "ftjob-1", "succeeded", "running", "3f2a91c0aa11bb22", 1, "ft:m:acme:triage:1", converged=True
)
BUSY = StatusRow(
    "dpo", "ftjob-2", "running", "running", "aa00bb11cc22dd33", 2, None, False, estimated_finish=1_772_000_250
)
NONE = StatusRow("draft", None, None, "paused", None, None, None, True)
LOST = StatusRow("old", "ftjob-3", "failed", None, "0011223344556677", 1, None, False, error="bad row\x1b[2J")


def text(*rows: StatusRow, width: int | None = None) -> str:
    return render_status(rows, now=NOW, color=False, width=width)


def test_the_document_has_the_documented_keys() -> None:
    keys = {"name", "job_id", "status", "desired", "revision", "attempt", "fine_tuned_model", "converged"}
    assert keys <= status_json([DONE])["jobs"][0].keys()
    assert StatusRow(**status_json([BUSY])["jobs"][0]) == BUSY


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (DONE, ["triage", "succeeded", "running", "yes", "3f2a91c0", "#1", "ftjob-1", "ft:m:acme:triage:1"]),
        (BUSY, ["dpo", "running", "running", "no", "aa00bb11", "#2", "4m", "10s", "ftjob-2"]),
        (NONE, ["draft", "no", "job", "paused", "yes"]),
        (LOST, ["old", "failed", "no", "spec", "no", "00112233", "#1", "ftjob-3"]),
    ],
)
def test_a_row_says_where_a_job_stands(row: StatusRow, words: list[str]) -> None:
    assert text(row).splitlines()[1].split() == words


def test_an_ended_job_has_no_time_left() -> None:
    assert "4m" not in text(dataclasses.replace(BUSY, status="failed"))


def test_an_error_stands_below_its_row_and_is_harmless() -> None:
    assert text(LOST).splitlines()[2] == r"  error  bad row\x1b[2J"


def test_a_narrow_terminal_gets_job_and_model_below() -> None:
    lines = text(DONE, width=60).splitlines()
    assert lines[2:4] == ["  job    ftjob-1", "  model  ft:m:acme:triage:1"]
    assert max(map(len, lines)) <= 60


def test_the_last_line_counts_statuses() -> None:
    assert text(DONE, BUSY, NONE, DONE).splitlines()[-1] == "4 in all: 2 succeeded, 1 no job, 1 running; 3 converged."
    assert text() == "No jobs.\n"
