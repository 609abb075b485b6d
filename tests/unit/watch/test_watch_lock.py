"""One watch a work tree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.errors import ReconcilerError
from reconciler.watch.lock import only_one


def test_a_second_watch_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    said = pytest.raises(ReconcilerError, match=f"process {os.getpid()}")
    with only_one(tmp_path / ".reconciler", None), said, only_one(tmp_path / ".reconciler", None):
        pass


def test_environments_are_watched_side_by_side(tmp_path: Path) -> None:
    with only_one(tmp_path, "dev"), only_one(tmp_path, "prod"), only_one(tmp_path, None):
        assert (tmp_path / ".gitignore").read_text() == "*\n"


def test_what_a_killed_watch_leaves_behind_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "watch.lock").write_text("")
    (tmp_path / "watch.pid").write_text("1\n")
    for _ in range(2):
        with only_one(tmp_path, None):
            assert (tmp_path / "watch.pid").read_text() == f"{os.getpid()}\n"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_to_is_an_error_in_words(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ReconcilerError, match="cannot be written"), only_one(tmp_path / "x", None):
        pass
