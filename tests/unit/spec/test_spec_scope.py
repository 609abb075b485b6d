from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.spec.scope import is_partial


@pytest.mark.parametrize(
    ("paths", "partial"),
    [
        (["specs"], False),
        (["."], False),
        (["jobs"], False),
        (["specs/team"], True),
        (["specs/a.yaml"], True),
        (["-"], True),
        (["specs/a.yaml", "specs"], False),
        (["absent"], True),
    ],
)
def test_only_whole_directories_can_show_that_a_job_lost_its_spec(
    paths: list[str], partial: bool, tmp_path: Path
) -> None:
    root = tmp_path / "specs" / "repository"  # what lies above the root does not count
    for directory in ("specs/team", "jobs"):
        (root / directory).mkdir(parents=True)
    (root / "specs" / "a.yaml").touch()
    assert is_partial(paths, root, cwd=root) is partial
