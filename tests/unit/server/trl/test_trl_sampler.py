"""Questions to the subprocess that answers: one at a time, and none that spoils the next."""

from __future__ import annotations

import errno
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from reconciler.server.trainers.answers import AnswerRefused, End, Piece, Question
from reconciler.server.trainers.trl import sampler as trl_sampler
from reconciler.server.trainers.trl.catalogue import Entry
from reconciler.server.trainers.trl.sampler import Sampler

FAKE = (sys.executable, str(Path(__file__).with_name("fake_sampler.py")))
ENTRY = Entry(path="x")


@pytest.fixture
def sampler(tmp_path: Path) -> Iterator[Sampler]:
    sampler = Sampler(tmp_path, {}, None, FAKE)
    yield sampler
    sampler.close()


def ask(sampler: Sampler, text: str, *stop: str, tools: Sequence[Any] = ()) -> Iterator[Piece | End]:
    question = Question("m", [{"role": "user", "content": text}], tools=tools, stop=stop)
    return sampler.answer(question, ENTRY, None)


def test_an_answer_comes_in_pieces(sampler: Sampler) -> None:
    assert list(ask(sampler, "good day")) == [Piece("good "), Piece("day "), End("stop", 0, 2)]


def test_an_answer_that_nobody_reads_is_ended_and_the_next_is_whole(sampler: Sampler) -> None:
    with closing(ask(sampler, "wait for me")) as pieces:  # type: ignore[type-var]
        assert next(pieces) == Piece("wait ")
    assert len(list(ask(sampler, "good day"))) == 3


@pytest.mark.parametrize(("stop", "tools"), [((), [{"type": "function"}]), (("never said at all",), ())])
def test_a_reader_that_misses_only_the_end_holds_up_nobody(
    sampler: Sampler, stop: Sequence[str], tools: Sequence[Any]
) -> None:
    """What is held back until an answer has ended comes once the subprocess has nothing more to say."""

    def read() -> None:
        with closing(ask(sampler, "good day", *stop, tools=tools)) as pieces:  # type: ignore[type-var]
            next(pieces)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(60)
    assert not reader.is_alive()
    assert len(list(ask(sampler, "good day"))) == 3


def test_a_reader_that_stops_reading_waits_for_nothing(sampler: Sampler) -> None:
    """It may be the event loop that lets go of an answer."""
    heard = threading.Event()
    with closing(ask(sampler, "wait for me")) as pieces:  # type: ignore[type-var]
        next(pieces)
        child = sampler._child
        assert child is not None
        hear = child.hear

        def note(seconds: float) -> bytes | None:
            heard.set()
            return hear(seconds)

        child.hear = note  # type: ignore[method-assign]
    assert not heard.is_set()
    assert len(list(ask(sampler, "good day"))) == 3
    assert heard.is_set()


def test_a_refusal_leaves_the_next_question_alone(sampler: Sampler) -> None:
    with pytest.raises(AnswerRefused, match="No"):
        list(ask(sampler, "refuse"))
    assert len(list(ask(sampler, "good day"))) == 3


@pytest.mark.parametrize(("word", "stays"), [("refuse", True), ("break", False)])
def test_a_process_in_which_a_model_broke_answers_no_more(sampler: Sampler, word: str, stays: bool) -> None:
    """An accelerator's fault stays with the process that had it."""
    list(ask(sampler, "good day"))
    child = sampler._child
    with pytest.raises(AnswerRefused, match="No"):
        list(ask(sampler, word))
    assert len(list(ask(sampler, "good day"))) == 3
    assert (sampler._child is child) == stays


def test_a_process_that_died_is_said_and_another_answers_next(sampler: Sampler) -> None:
    with pytest.raises(AnswerRefused, match="ended") as caught:
        list(ask(sampler, "well die"))
    assert caught.value.busy
    assert len(list(ask(sampler, "good day"))) == 3


def test_a_disk_that_is_full_is_said(sampler: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trl_sampler, "Child", full)
    with pytest.raises(AnswerRefused, match="disk is full") as caught:
        list(ask(sampler, "good day"))
    assert caught.value.code == "insufficient_storage"


def test_one_that_closes_ends_a_long_answer_and_begins_no_other(
    sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trl_sampler, "_PATIENCE", 0.1)
    with closing(ask(sampler, "wait for me")) as pieces:  # type: ignore[type-var]
        next(pieces)
        child = sampler._child
        sampler.close()
        assert child is not None
        assert not child.alive
        with pytest.raises(AnswerRefused, match="ended"):
            list(pieces)
    with pytest.raises(AnswerRefused) as caught:
        list(ask(sampler, "good day"))
    assert (caught.value.code, caught.value.busy) == ("server_stopping", True)
    assert sampler._child is None


def test_one_that_closes_is_nothing_to_a_reader_that_stops_reading(
    sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trl_sampler, "_PATIENCE", 0.1)
    with closing(ask(sampler, "wait for me")) as pieces:  # type: ignore[type-var]
        next(pieces)
        sampler.close()


def test_a_process_is_ended_once_by_several_at_once(sampler: Sampler) -> None:
    list(ask(sampler, "good day"))
    child = sampler._child
    assert child is not None
    end, ended = child.end, list[float]()

    def slow(patience: float = 0) -> int:
        ended.append(patience)
        time.sleep(0.2)
        return end(patience)

    child.end = slow  # type: ignore[method-assign]
    threads = [threading.Thread(target=sampler._end) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended == [0]


def test_more_than_a_few_are_sent_away(sampler: Sampler) -> None:
    with ExitStack() as stack:
        for _ in range(16):
            assert sampler._few.acquire(blocking=False)
            stack.callback(sampler._few.release)
        with pytest.raises(AnswerRefused) as caught:
            next(ask(sampler, "good day"))
    assert (caught.value.code, caught.value.busy) == ("rate_limit_exceeded", True)


def test_an_answer_ends_before_its_stop(sampler: Sampler) -> None:
    assert list(ask(sampler, "good day", "od")) == [Piece("go"), End("stop", 0, 2)]
