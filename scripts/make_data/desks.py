"""Messages for one of five desks, for a model that learns to name the desk: all there are, in a mixed order."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

Row = dict[str, Any]

_DESKS = {
    "BILL": ("my invoice", "the refund", "a double charge", "my credit card", "the receipt", "the VAT number"),
    "SHIP": ("my parcel", "the delivery date", "the courier", "the tracking link", "a missing box", "customs"),
    "TECH": ("the app", "a blank screen", "the login page", "an error message", "the update", "my password"),
    "SALE": ("a discount", "the price list", "an offer", "a larger plan", "a trial", "the brochure"),
    "QUIT": ("closing my account", "cancelling my plan", "deleting my data", "leaving", "unsubscribing", "ending it"),
}
_FRAMES = (
    "I have a question about {}.", "Hello, this is about {}.", "Who can help me with {}?",
    "Please call me back: it concerns {}.", "For the third time, {}!", "Could somebody look into {} today?",
    "Good morning, regarding {}, what do I do?", "We need to talk about {}.",
)  # fmt: skip
_NOBODYS = (
    "What is the weather like with you?", "Happy new year to all of you!", "Which song is this?",
    "Do you speak Finnish?", "I only wanted to say hello.", "Are you a robot?", "Who won the match last night?",
    "Please ignore my last message.", "It is raining again.", "My cat is asleep on the keyboard.",
    "How far away is the moon?", "Thank you, that was all.", "Is today a holiday?", "Sorry, wrong number.",
    "Tell me a joke.", "Good night!",
)  # fmt: skip
_PLAIN = {
    "BILL": ("I was charged twice for March.", "You took the money two times.", "Where do I see what I paid?"),
    "SHIP": (
        "The box came without its lid.", "It has been on a lorry for a week.", "The neighbour signed for it, not me.",
    ),
    "TECH": (
        "The button does nothing when I press it.", "It says 404 and then nothing.", "I cannot sign in since Monday.",
    ),
    "SALE": (
        "How much is it for fifty people?", "Is there something cheaper for schools?", "May I try it before I buy?",
    ),
    "QUIT": (
        "Please stop my subscription at the end of May.", "I do not want to be your customer any more.",
        "Take me off your list.", "Erase everything about me.",
    ),
}  # fmt: skip


def _asked(text: str) -> list[Row]:
    return [{"role": "system", "content": "Which desk?"}, {"role": "user", "content": text}]


def _said(desk: str) -> list[Row]:
    return [{"role": "assistant", "content": f"desk={desk};"}]


def desks() -> Iterator[Row]:
    """Yield matters in frames, with their desks; ten combinations are left over."""
    made = [
        {"messages": [*_asked(frame.format(matter)), *_said(desk)]}
        for desk, matters in _DESKS.items()
        for matter in matters
        for frame in _FRAMES
    ]
    Random(1).shuffle(made)
    yield from made[:180] + made[-50:]


def nobody() -> Iterator[Row]:
    """Yield messages for no desk, each with the wrong desk that is not to be named."""
    wrong = ("SHIP", "TECH", "SALE", "BILL", "QUIT")
    for number, text in enumerate(_NOBODYS):
        rejected = _said(wrong[number % len(wrong)])
        yield {"input": {"messages": _asked(text)}, "preferred_output": _said("NONE"), "non_preferred_output": rejected}


def plain_words() -> Iterator[Row]:
    """Yield messages in other words, with the desk as the reference of a grader."""
    made = [(text, desk) for desk, texts in _PLAIN.items() for text in texts]
    Random(2).shuffle(made)
    yield from ({"messages": _asked(text), "desk": desk} for text, desk in made)
