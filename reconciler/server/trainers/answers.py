"""A question to a model, and the answer as it comes: what chat completions ask of a trainer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

Reason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of which model. Messages and tools are in the API's form; ``most`` is in tokens, None for no limit.

    A ``temperature`` of 0 always takes the likeliest token. ``response_format`` is the API's, None for any text;
    ``reasoning_effort`` is how hard to think, None for as the model does by itself.
    """

    model: str
    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] = ()
    most: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    stop: Sequence[str] = ()
    seed: int | None = None
    response_format: Mapping[str, Any] | None = None
    reasoning_effort: str | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """The next piece of an answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class End:
    """The answer is whole: why it ended, the tools that it calls, and the tokens that it took."""

    reason: Reason
    prompt_tokens: int
    completion_tokens: int
    calls: Sequence[Mapping[str, Any]] = ()


class AnswerRefused(Exception):
    """No answer can be had. ``busy`` says that one may be, later; ``param`` is what is wrong with the request."""

    def __init__(self, code: str, message: str, param: str | None = None, *, busy: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.busy = busy


def until(stops: Sequence[str], answer: Iterable[Piece | End]) -> Iterator[Piece | End]:
    """Cut an answer off before the first of some texts; hold back what may be the beginning of one until it is not."""
    longest = max(map(len, stops), default=0)
    held, over = "", False
    for each in answer:
        if isinstance(each, End):
            if held:
                yield Piece(held)
            yield replace(each, reason="stop") if over else each
        elif not over:
            held += each.text
            places = [place for stop in stops if (place := held.find(stop)) >= 0]
            over = bool(places)
            free = min(places) if over else max(0, len(held) - max(0, longest - 1))
            if free:
                yield Piece(held[:free])
            held = "" if over else held[free:]
