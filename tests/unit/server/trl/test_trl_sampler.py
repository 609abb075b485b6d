"""Questions to the subprocess that answers: one at a time, and none that spoils the next."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

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


def ask(sampler: Sampler, text: str, *stop: str) -> Iterator[Piece | End]:
    question = Question("m", [{"role": "user", "content": text}], stop=stop)
    return sampler.answer(question, ENTRY, None)


def test_an_answer_comes_in_pieces(sampler: Sampler) -> None:
    assert list(ask(sampler, "good day")) == [Piece("good "), Piece("day "), End("stop", 0, 2)]


def test_an_answer_that_nobody_reads_is_ended_and_the_next_is_whole(sampler: Sampler) -> None:
    with closing(ask(sampler, "wait for me")) as pieces:  # type: ignore[type-var]
        assert next(pieces) == Piece("wait ")
    assert len(list(ask(sampler, "good day"))) == 3


def test_a_refusal_leaves_the_next_question_alone(sampler: Sampler) -> None:
    with pytest.raises(AnswerRefused, match="No"):
        list(ask(sampler, "refuse"))
    assert len(list(ask(sampler, "good day"))) == 3


def test_a_process_that_died_is_said_and_another_answers_next(sampler: Sampler) -> None:
    with pytest.raises(AnswerRefused, match="ended") as caught:
        list(ask(sampler, "well die"))
    assert caught.value.busy
    assert len(list(ask(sampler, "good day"))) == 3


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
