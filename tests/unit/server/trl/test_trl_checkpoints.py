"""What training goes on from: whole checkpoints only, and what the server counts on is never pruned."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.server.trainers.trl.checkpoints import checkpoint, drop_later, newest, prune, seal
from reconciler.server.trainers.trl.order import Said, State, kept


def save(workdir: Path, *steps: int) -> None:
    for step in steps:
        place = checkpoint(workdir, step)
        (place / "optimizer").mkdir(parents=True)
        (place / "optimizer" / "0.distcp").write_text("numbers")
        seal(workdir, State(step=step, total=99, tokens=10 * step, micro=1))


def there(workdir: Path) -> list[int]:
    return sorted(int(path.name.split("-")[1]) for path in (workdir / "run").glob("checkpoint-*"))


@pytest.mark.parametrize(
    ("recorded", "left"),
    [
        (0, [3, 6, 9, 12]),
        (3, [3, 6, 9, 12]),
        (6, [6, 9, 12]),
        (8, [6, 9, 12]),
        (12, [12]),
    ],
)
def test_what_the_server_recorded_and_all_that_is_newer_stay(tmp_path: Path, recorded: int, left: list[int]) -> None:
    save(tmp_path, 3, 6, 9, 12)
    prune(tmp_path, recorded)
    assert there(tmp_path) == left


def test_a_server_that_is_away_for_long_does_not_fill_the_disk(tmp_path: Path) -> None:
    for step in range(1, 20):
        save(tmp_path, step)
        prune(tmp_path, 2)
    assert there(tmp_path) == [2, 15, 16, 17, 18, 19]


def test_one_that_is_not_whole_is_not_counted_on(tmp_path: Path) -> None:
    save(tmp_path, 3, 6, 9)
    (checkpoint(tmp_path, 6) / "reconciler.json").write_text("")
    assert newest(tmp_path, 8) == State(step=3, total=99, tokens=30, micro=1)
    prune(tmp_path, 6)
    assert 3 in there(tmp_path)


@pytest.mark.parametrize(("step", "found"), [(2, None), (3, 3), (5, 3), (6, 6), (99, 9)])
def test_the_newest_that_is_not_later_is_gone_on_from(tmp_path: Path, step: int, found: int | None) -> None:
    save(tmp_path, 3, 6, 9)
    state = newest(tmp_path, step)
    assert (state.step if state else None) == found


def test_nothing_is_found_where_nothing_was_saved(tmp_path: Path) -> None:
    assert newest(tmp_path, 99) is None
    drop_later(tmp_path, 0)
    prune(tmp_path, 0)


def test_what_is_learnt_again_goes_first(tmp_path: Path) -> None:
    save(tmp_path, 3, 6, 9)
    drop_later(tmp_path, 3)
    assert there(tmp_path) == [3]


def test_a_process_hears_what_is_recorded_and_when_to_stop() -> None:
    said = Said()
    for step in (3, 6, 3):
        said.hear(kept(step) + "\n")
    assert (said.kept, said.stop) == (6, False)
    said.hear("stop\n")
    assert (said.stop, said.drop) == (True, False)
    said.hear("drop\n")
    assert (said.kept, said.stop, said.drop) == (6, True, True)
