"""A diff is exact for programs and harmless for people."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from reconciler.report.drift import render_drift
from reconciler.report.patch import render_patch, unified


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("name: a\nstate: running\n", "name: a\nstate: paused\n"),
        ("name: a\r\nmodel: m\r\n", "name: a\r\nstate: paused\r\nmodel: m\r\n"),
        ("\ufeffname: a\nstate: running", "\ufeffname: a\nstate: paused"),
        ("model: m\nname: a", "model: m\nstate: paused\nname: a"),
    ],
)
def test_git_makes_the_same_edit_of_the_diff(tmp_path: Path, before: str, after: str) -> None:
    file = tmp_path / "specs" / "a.yaml"
    file.parent.mkdir()
    file.write_bytes(before.encode())
    subprocess.run(
        ["git", "apply", "--whitespace=nowarn", "-"],
        input=unified("specs/a.yaml", before, after).encode(),
        cwd=tmp_path,
        check=True,
    )
    assert file.read_bytes() == after.encode()


@pytest.mark.parametrize(
    "name", ["a b.yaml", "grün.yaml", 'quo"te.yaml', "back\\slash.yaml", "a\x1b[31m\n::error::b.yaml"]
)
def test_git_finds_a_file_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("state: running\n")
    diff = unified(name, "state: running\n", "state: paused\n")
    assert len(render_patch(diff, color=False).splitlines()) == 5
    subprocess.run(["git", "apply", "-"], input=diff.encode(), cwd=tmp_path, check=True)
    assert (tmp_path / name).read_text() == "state: paused\n"


def test_nothing_is_said_of_what_does_not_differ() -> None:
    assert unified("a.yaml", "name: a\n", "name: a\n") == ""
    assert render_patch("", color=True) == ""


def test_a_file_outside_is_named_as_it_is() -> None:
    assert unified("/srv/a.yaml", "a\n", "b\n").startswith("--- a/srv/a.yaml\n+++ b/srv/a.yaml\n")


def test_what_a_file_could_do_to_a_terminal_is_shown() -> None:
    shown = render_patch(unified("a.yaml", "# \x1b[2J\u202e\r\n", "# x\n"), color=False)
    assert shown.splitlines()[3:] == [r"-# \x1b[2J\u202e", "+# x"]


def test_no_drift_is_said_in_words() -> None:
    assert render_drift([], color=False, width=80) == "No drift.\n"
