"""Weights on the shelf: whole or not there, by name, and gone when their last name is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import StoreError
from reconciler.server.trainers.trl import shelf
from reconciler.server.trainers.trl.shelf import NoWeights, Shelf

MODEL = "ft:m:local:x:abcdefgh"


@pytest.fixture
def made(tmp_path: Path) -> Shelf:
    """A model of steps 2, 4 and 6; the last is its own."""
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    for name in ("adapter_model.safetensors", "adapter_config.json", "optimizer.pt"):
        (checkpoint / name).write_text(name)
    found = Shelf(tmp_path / "models")
    for step in (2, 4, 6):
        shelf.publish(checkpoint, found.place(MODEL), step, {"model": MODEL, "job": "ftjob-x"})
    shelf.finish(found.place(MODEL), 6)
    return found


def test_a_name_means_the_last_step_and_a_checkpoints_its_own(made: Shelf) -> None:
    assert made.find(MODEL).step == 6
    assert made.find(f"{MODEL}:ckpt-step-2").step == 2
    assert made.find(MODEL).card["job"] == "ftjob-x"


def test_weights_are_published_and_what_only_training_needs_is_not(made: Shelf) -> None:
    names = sorted(path.name for path in made.find(MODEL).directory.iterdir())
    assert names == ["adapter_config.json", "adapter_model.safetensors"]


@pytest.mark.parametrize("name", ["ft:m:local:x:other", f"{MODEL}:ckpt-step-3", f"{MODEL}:ckpt-step-../6", "m"])
def test_what_is_not_there_is_said(made: Shelf, name: str) -> None:
    with pytest.raises(NoWeights):
        made.find(name)


def test_a_model_has_no_name_of_its_own_until_it_is_made(made: Shelf, tmp_path: Path) -> None:
    shelf.publish(tmp_path / "checkpoint", made.place("ft:m:local:y:1"), 2, {})
    with pytest.raises(NoWeights):
        made.find("ft:m:local:y:1")
    assert made.find("ft:m:local:y:1:ckpt-step-2").step == 2


def test_the_last_steps_weights_go_with_the_second_of_their_names(made: Shelf) -> None:
    made.remove(f"{MODEL}:ckpt-step-6")
    assert made.find(MODEL).directory.is_dir()
    made.remove(MODEL)
    with pytest.raises(NoWeights):
        made.find(MODEL)
    assert made.find(f"{MODEL}:ckpt-step-4").step == 4


def test_nothing_is_left_of_a_model_whose_every_name_was_deleted(made: Shelf) -> None:
    for name in (MODEL, *(f"{MODEL}:ckpt-step-{step}" for step in (2, 4, 6))):
        made.remove(name)
    assert not made.place(MODEL).exists()
    made.remove(MODEL)


class Slow:
    """Makes what happens between reading a card and writing it long enough for others to come between."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._read = shelf.read_card
        self._reads = threading.Barrier(2)
        monkeypatch.setattr(shelf, "read_card", self.read)

    def read(self, place: Path) -> dict[str, Any]:
        card = self._read(place)
        try:
            self._reads.wait(0.3)
        except threading.BrokenBarrierError:
            self._reads.reset()
        return card

    @staticmethod
    def together(*actions: Callable[[], None]) -> None:
        faults: list[BaseException] = []

        def run(action: Callable[[], None]) -> None:
            try:
                action()
            except BaseException as error:  # noqa: BLE001 - whatever it is, the test shows it
                faults.append(error)

        threads = [threading.Thread(target=run, args=(action,)) for action in actions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert faults == []


def test_a_model_keeps_its_name_where_a_checkpoint_is_deleted_as_it_gets_it(
    made: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = made.place(MODEL)
    shelf.publish(tmp_path / "checkpoint", place, 6, {"job": "ftjob-x"})
    slow = Slow(monkeypatch)
    slow.together(lambda: shelf.finish(place, 6), lambda: made.remove(f"{MODEL}:ckpt-step-2"))
    monkeypatch.undo()
    assert made.find(MODEL).step == 6


def test_of_two_checkpoints_that_are_deleted_at_once_both_are(made: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    slow.together(*(lambda step=step: made.remove(f"{MODEL}:ckpt-step-{step}") for step in (4, 6)))
    monkeypatch.undo()
    assert set(made.find(MODEL).card["removed"]) == {f"{MODEL}:ckpt-step-4", f"{MODEL}:ckpt-step-6"}


def test_a_step_that_is_published_keeps_what_was_deleted_and_gives_its_own_name_back(
    made: Shelf, tmp_path: Path
) -> None:
    for step in (2, 6):
        made.remove(f"{MODEL}:ckpt-step-{step}")
    shelf.publish(tmp_path / "checkpoint", made.place(MODEL), 6, {"job": "ftjob-x"})
    shelf.finish(made.place(MODEL), 6)
    assert made.find(MODEL).card["removed"] == [f"{MODEL}:ckpt-step-2"]


def steps(made: Shelf) -> list[str]:
    return sorted(path.name for path in made.place(MODEL).glob("step-*"))


@pytest.mark.parametrize(
    ("names", "left"),
    [
        (
            {MODEL, f"{MODEL}:ckpt-step-2", f"{MODEL}:ckpt-step-4", f"{MODEL}:ckpt-step-6"},
            ["step-2", "step-4", "step-6"],
        ),
        ({MODEL, f"{MODEL}:ckpt-step-2"}, ["step-2", "step-6"]),
        ({f"{MODEL}:ckpt-step-4"}, ["step-4"]),
        ({MODEL}, ["step-6"]),
        ((), []),
        (None, ["step-2", "step-4", "step-6"]),
    ],
)
def test_steps_that_nothing_names_are_swept_and_others_never(
    made: Shelf, names: Collection[str] | None, left: list[str]
) -> None:
    asked: list[str] = []

    def named(job: str) -> Collection[str] | None:
        asked.append(job)
        return names

    made.sweep(named)
    assert (asked, steps(made)) == (["ftjob-x"], left)
    assert made.place(MODEL).exists() == bool(left)


def test_a_sweep_removes_nothing_where_the_names_cannot_be_read(made: Shelf) -> None:
    def named(_: str) -> Collection[str]:
        raise StoreError("The database cannot be used.")

    with pytest.raises(StoreError):
        made.sweep(named)
    assert len(steps(made)) == 3


def test_a_sweep_leaves_a_model_whose_card_does_not_say_which_step_it_is(made: Shelf, tmp_path: Path) -> None:
    card = {"model": MODEL, "job": "ftjob-x"}
    shelf.publish(tmp_path / "checkpoint", made.place(MODEL), 8, card)
    made.sweep(lambda _: {MODEL})
    assert len(steps(made)) == 4


@pytest.mark.parametrize(
    "card", ["", "{", '{"model": "other", "job": "ftjob-x"}', '{"model": "ft:m:local:x:abcdefgh"}']
)
def test_a_sweep_leaves_what_it_does_not_know(made: Shelf, card: str) -> None:
    (made.place(MODEL) / "model.json").write_text(card)
    made.sweep(lambda _: ())
    assert len(steps(made)) == 3


def test_what_was_published_in_part_is_swept_away_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "adapter_model.safetensors").write_text("x")

    def killed(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(shelf, "_link", killed)
    found = Shelf(tmp_path / "models")
    with pytest.raises(OSError, match="No space"):
        shelf.publish(checkpoint, found.place(MODEL), 2, {"model": MODEL, "job": "ftjob-x"})
    assert steps(found) == ["step-2.part"]
    found.sweep(lambda _: ())
    assert not found.place(MODEL).exists()


def test_one_model_may_be_swept_alone(made: Shelf) -> None:
    for other in ("ft:m:local:y:1", "nobody's", f"{MODEL}x"):
        made.sweep(lambda _: (), other)
    assert len(steps(made)) == 3
    made.sweep(lambda _: {MODEL}, f"{MODEL}:ckpt-step-4")
    assert steps(made) == ["step-6"]


def test_steps_that_are_not_kept_are_pruned(made: Shelf) -> None:
    shelf.prune(made.place(MODEL), {4, 6})
    assert sorted(path.name for path in made.place(MODEL).glob("step-*")) == ["step-4", "step-6"]


def test_any_name_makes_a_short_file_name_of_its_own() -> None:
    names = ["a/b", "a:b", "../../etc", "x" * 250, "x" * 251, ""]
    slugs = [shelf.slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    assert all(len(slug) < 100 and "/" not in slug and not slug.startswith(".") for slug in slugs)
