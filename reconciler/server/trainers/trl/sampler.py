"""Answers questions from the weights, in one subprocess that is kept for a while: loading a model takes seconds."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from reconciler.server.trainers.answers import AnswerRefused, End, Piece, Question, Reason, until
from reconciler.server.trainers.trl.catalogue import Entry
from reconciler.server.trainers.trl.child import Child
from reconciler.server.trainers.trl.dialogue import calls_in
from reconciler.server.trainers.trl.faults import SERVER_ERROR, failure_of

_MODULE = "reconciler.server.trainers.trl.sample"
_KEPT = 300.0
"""Seconds without a question after which the memory is given back."""
_PATIENCE = 5.0
_WAITING = 16
_CANCEL = "cancel"


class Asked(BaseModel):
    """A question for the subprocess: the base by its entry, and the weights of a fine-tune, None for the base.

    ``grammar`` is what the answer is held to, None for any text.
    """

    model_config = ConfigDict(frozen=True)

    entry: Entry
    cache: Path
    weights: Path | None
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    most: int | None
    temperature: float
    top_p: float
    stop: list[str]
    seed: int | None
    threads: int | None
    grammar: str | None = None
    reasoning_effort: str | None = None


class Said(BaseModel):
    """A line of its answer: a ``piece`` of text, the ``end``, or why it was ``refused``."""

    kind: str
    text: str = ""
    reason: Reason = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    code: str = ""
    param: str | None = None


class Sampler:
    """Asks one question at a time; a few may wait. Safe to use from several threads.

    ``launcher`` are words that stand before Python in the subprocess's command.
    """

    def __init__(
        self, directory: Path, environment: Mapping[str, str], threads: int | None, launcher: Sequence[str] = ()
    ) -> None:
        self._directory = directory
        self._environment = environment
        self._threads = threads
        self._launcher = launcher
        self._one = threading.Lock()
        self._few = threading.BoundedSemaphore(_WAITING)
        self._ends = threading.Lock()
        self._child: Child | None = None
        self._owes = False  # lines of an answer, its last among them
        self._closed = False
        self._timer: threading.Timer | None = None

    def answer(
        self, question: Question, entry: Entry, weights: Path | None, grammar: str | None = None
    ) -> Iterator[Piece | End]:
        """Yield an answer as it is made. A reader that stops reading ends it.

        Raises:
            AnswerRefused: it cannot be had.
        """
        asked = Asked(
            entry=entry,
            cache=self._directory / "bases",
            weights=weights,
            messages=[dict(message) for message in question.messages],
            tools=[dict(tool) for tool in question.tools],
            most=question.most,
            temperature=question.temperature,
            top_p=question.top_p,
            stop=list(question.stop),
            seed=question.seed,
            threads=self._threads,
            grammar=grammar,
            reasoning_effort=question.reasoning_effort,
        ).model_dump_json()
        with self._turn() as child:
            self._owes = True
            child.tell(asked)
            try:
                yield from until(question.stop, self._pieces(child, question.tools))
            finally:
                if self._owes:
                    child.tell(_CANCEL)  # whoever asks next waits for its last line: here may be the event loop

    @contextlib.contextmanager
    def _turn(self) -> Iterator[Child]:
        if not self._few.acquire(blocking=False):
            raise AnswerRefused("rate_limit_exceeded", f"{_WAITING} questions wait already.", busy=True)
        try:
            with self._one:
                if self._timer is not None:
                    self._timer.cancel()
                try:
                    yield self._running()
                finally:
                    self._timer = threading.Timer(_KEPT, self._rest)
                    self._timer.daemon = True
                    self._timer.start()
        finally:
            self._few.release()

    def _running(self) -> Child:
        if self._closed:
            raise _stopping()
        if (child := self._child) is not None and self._owes:
            self._drain(child)
            child = self._child
        if child is None or not child.alive:
            self._end()
            with self._ends:
                if self._closed:
                    raise _stopping()
                child = self._child = self._begun()
                self._owes = False
        return child

    def _begun(self) -> Child:
        log = self._directory / "sample.log"
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            return Child(_MODULE, [], log=log, environment=self._environment, launcher=self._launcher)
        except OSError as error:
            failure = failure_of(error, "answering")
            raise AnswerRefused(failure.code, str(failure), failure.param) from error

    def _pieces(self, child: Child, tools: Sequence[object]) -> Iterator[Piece | End]:
        """Yield pieces as they come; where tools may be called, all at once: a call is seen once it is whole."""
        text = ""
        for said in self._lines(child):
            if said.kind == "refused":
                if said.code == SERVER_ERROR:  # nobody knows in what state the model is, or its accelerator
                    self._end()
                raise AnswerRefused(said.code, said.text, said.param)
            if said.kind == "end":
                rest, calls = calls_in(text)
                if rest:
                    yield Piece(rest)
                yield End(
                    "tool_calls" if calls else said.reason, said.prompt_tokens, said.completion_tokens, tuple(calls)
                )
                return
            if tools:
                text += said.text
            else:
                yield Piece(said.text)

    def close(self) -> None:
        """End the subprocess, for good: after the answer that it makes, if that does not take long."""
        with self._ends:
            self._closed = True
        free = self._one.acquire(timeout=_PATIENCE)
        self._end()
        if free:
            self._one.release()

    def _rest(self) -> None:
        """Give the memory back, unless somebody asks just now."""
        if self._one.acquire(blocking=False):
            self._end()
            self._one.release()

    def _end(self) -> None:
        with self._ends:  # one that closes waits for no answer, so it may come at any moment
            child, self._child = self._child, None
        if child is not None:
            child.end()

    def _lines(self, child: Child) -> Iterator[Said]:
        """Yield what it says, to the last line of its answer."""
        while self._owes:
            line = child.hear(1.0)
            if line is None:
                self._owes = False
                self._end()
                words = "The process that answers ended: the machine may be out of memory."
                raise AnswerRefused("server_error", words, busy=True)
            if line:
                said = Said.model_validate_json(line)
                self._owes = said.kind == "piece"
                yield said

    def _drain(self, child: Child) -> None:
        """Read what is left of an answer that nobody reads."""
        with contextlib.suppress(AnswerRefused):
            for _ in self._lines(child):
                pass


def _stopping() -> AnswerRefused:
    return AnswerRefused("server_stopping", "The server is stopping.", busy=True)
