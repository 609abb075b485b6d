from __future__ import annotations

import io
import subprocess
import sys

import pytest

from reconciler.report.board import Board
from reconciler.report.live import Live
from reconciler.report.progress import Lines, progress

NOW = 1_772_000_000.0


def drawn(board: Board, room: int = 20) -> list[str]:
    return ["".join(text for text, _ in line).rstrip() for line in board.lines(room, NOW)]


def test_a_log_gets_a_line_for_each_change_of_status_only() -> None:
    stream = io.StringIO()
    with progress(stream, interactive=False, color=False) as shown:
        for name, status in (("a", "queued"), ("a", "queued"), ("b", "queued"), ("a", "running"), ("a", "running")):
            shown.job(name, status, step=1, total=9)
    assert stream.getvalue().splitlines() == ["a: queued", "b: queued", "a: running"]


def test_a_log_gets_two_lines_for_an_upload() -> None:
    stream = io.StringIO()
    shown = Lines(stream, color=False)
    for sent in (0, 500, 1500):
        shown.upload("data/train.jsonl", sent, 1500)
    assert stream.getvalue() == "uploading data/train.jsonl (1.5 kB)\nuploaded data/train.jsonl\n"


def test_notes_in_a_log_are_harmless() -> None:
    stream = io.StringIO()
    progress(stream, interactive=False, color=False).note("all\x1b[2J done")
    assert stream.getvalue() == "all\\x1b[2J done\n"


def test_a_board_shows_step_loss_curve_and_time_left() -> None:
    board = Board()
    for step, loss in ((1, 4.0), (2, 2.0), (3, 1.0)):
        board.job("triage", "running", step=step, total=6, loss=loss, eta=NOW + 250)
    assert drawn(board) == [
        "triage  running  ━━━━━━━━────────  3/6  loss 1      █▃▁           4m 10s left",
        "1 running",
    ]


def test_the_same_step_told_twice_is_one_point_of_the_curve() -> None:
    board = Board()
    for _ in range(3):
        board.job("a", "running", step=1, total=2, loss=1.0)
    board.job("a", "running")
    assert "loss 1      ▁\n" in drawn(board)[0] + "\n"


@pytest.mark.parametrize(("status", "eta"), [("succeeded", NOW + 60), ("running", NOW - 60), ("running", None)])
def test_no_time_is_left_where_none_is_known(status: str, eta: float | None) -> None:
    board = Board()
    board.job("a", status, eta=eta)
    assert "left" not in "".join(drawn(board))


def test_running_jobs_come_first_then_failures_and_the_rest_is_counted() -> None:
    board = Board()
    for i in range(1000):
        board.job(f"job-{i}", ("queued", "running", "succeeded", "failed", "cancelled")[i % 5])
    lines = drawn(board, room=403)
    assert len(lines) == 403
    assert [line.split()[1] for line in lines[:402]] == ["running"] * 200 + ["failed"] * 200 + ["queued"] * 2
    assert lines[-1] == "200 cancelled, 200 failed, 200 queued, 200 running, 200 succeeded; 598 not shown"


@pytest.mark.parametrize("room", [2, 5, 24])
def test_uploads_and_jobs_share_the_room(room: int) -> None:
    board = Board()
    for i in range(50):
        board.upload(f"data/{i}.jsonl", 500, 1500)
        board.job(f"job-{i}", "queued")
    lines = drawn(board, room)
    assert len(lines) == room
    assert lines[0] == "uploading data/0.jsonl  ━━━━━───────────  500 B of 1.5 kB"


def test_an_upload_that_has_ended_is_gone() -> None:
    board = Board()
    board.upload("a", 0, 10)
    board.upload("a", 10, 10)
    assert drawn(board) == []


@pytest.mark.parametrize("color", [True, False])
def test_a_terminal_shows_notes_and_keeps_the_last_picture(color: bool) -> None:
    stream = io.StringIO()
    with progress(stream, interactive=True, color=color, clock=lambda: NOW) as shown:
        assert isinstance(shown, Live)
        shown.job("triage\x1b[2J", "running", step=1, total=2, loss=0.5, eta=NOW + 60)
        shown.upload("a.jsonl", 1, 2)
        shown.note("resumed\x1b[2J")
    said = stream.getvalue()
    assert "resumed\\x1b[2J" in said
    assert "triage\\x1b[2J" in said
    assert "1 running" in said
    assert "\x1b[2J" not in said
    assert ("\x1b[36m" in said) is color


def test_a_pipe_never_pays_for_rich() -> None:
    script = (
        "import sys\n"
        "from reconciler.plan.model import Plan\n"
        "from reconciler.report import plan_text, plan_json, plan_markdown, outcomes, outputs\n"
        "from reconciler.report import checkpoints, events, fault, status\n"
        "from reconciler.report.progress import progress\n"
        "plan_text.render_plan(Plan.of('o', 's', []), color=True, width=80)\n"
        "progress(sys.stderr, interactive=False, color=True).note('hello')\n"
        "sys.exit('rich' in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
