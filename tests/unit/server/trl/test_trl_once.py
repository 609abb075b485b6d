"""A directory that several want: made once, whole, and again where whoever made it was killed."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.server.trainers.trl.once import made_once

MAKE = """
import sys, time
from pathlib import Path
from reconciler.server.trainers.trl.once import made_once

def make(part):
    (part / "weights").write_text(sys.argv[2])
    print("making", flush=True)
    sys.stdin.readline()

made_once(Path(sys.argv[1]), make)
"""


def maker(target: Path, what: str) -> subprocess.Popen[str]:
    """A process that makes the directory once it is told to go on."""
    words = [sys.executable, "-c", MAKE, str(target), what]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_of_several_that_want_it_one_makes_it_and_the_others_wait(tmp_path: Path) -> None:
    target = tmp_path / "bases" / "m"
    made: list[Path] = []

    def make(part: Path) -> None:
        made.append(part)
        (part / "weights").write_text("ours")

    with maker(target, "theirs") as other, ThreadPoolExecutor(3) as pool:
        assert other.stdout
        assert other.stdout.readline() == "making\n"
        waiting = [pool.submit(made_once, target, make) for _ in range(3)]
        assert not target.exists(), "it is not there before it is whole"
        other.communicate("go on\n", timeout=60)
        assert [each.result(60) for each in waiting] == [target] * 3
    assert made == []
    assert (target / "weights").read_text() == "theirs"


def test_what_was_left_by_one_that_was_killed_is_taken_away(tmp_path: Path) -> None:
    target = tmp_path / "m"
    (tmp_path / "m.1.part").mkdir()
    (tmp_path / "n.part").mkdir()
    with maker(target, "half") as other:
        assert other.stdout
        assert other.stdout.readline() == "making\n"
        other.kill()
    assert (tmp_path / "m.part" / "weights").exists()
    made_once(target, lambda part: (part / "whole").touch())
    assert sorted(path.name for path in tmp_path.rglob("*") if path.name != "lock") == ["m", "whole"]


def test_what_fails_leaves_nothing_and_is_tried_again(tmp_path: Path) -> None:
    def fail(part: Path) -> None:
        (part / "half").touch()
        raise OSError

    with pytest.raises(OSError, match=r"^$"):
        made_once(tmp_path / "m", fail)
    assert not list(tmp_path.glob("m*"))
    assert (made_once(tmp_path / "m", lambda part: (part / "whole").touch()) / "whole").exists()
