"""What a model that was made here is made of: its card says so, whatever the catalogue says since.

::

    answers             all of the card's, but ``context``
    a job on it         of the card: source, dtype, chat template, lora; of the catalogue: rates, sizes, resources, and
                        lora or qlora
    a job that goes on  all as it began, but what it runs on
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from reconciler.server.trainers.trl.catalogue import Entry
from reconciler.server.trainers.trl.shelf import Made, NoWeights, is_adapter, read_card

_ANSWERING = ("context",)
_GOING_ON = ("micro_batch", "gradient_checkpointing", "resources")
_TRAINING = (*_GOING_ON, "learning_rate", "context", "answer", "generations", "tuning")


class BadChain(ValueError):
    """A job cannot be trained on a model as the catalogue is now; the message says what to do."""


def made_of(made: Made) -> Entry:
    """Return the entry that a model was made with.

    Raises:
        NoWeights: its card does not say, or its base is no longer where it was.
    """
    try:
        entry = Entry.model_validate(made.card["entry"])
        if entry.chat_template and "{" not in entry.chat_template:  # a card of before names the file
            entry = entry.model_copy(update={"chat_template": Path(entry.chat_template).read_text(encoding="utf-8")})
    except (KeyError, ValidationError, OSError, UnicodeDecodeError) as error:
        raise NoWeights(f"What {made.name} was made on cannot be read from its card on this server.") from error
    if entry.path and not Path(entry.path).exists():
        raise NoWeights(
            f"{made.name} was made on {entry.source}, which is no longer where it was on this server: put it back."
        )
    return entry


def published(place: Path) -> Entry | None:
    """Return what trains the model of a directory of the shelf; None where nothing of it was published."""
    try:
        return Entry.model_validate(read_card(place)["entry"])
    except (OSError, ValueError, KeyError):
        return None


def answering(made: Made, now: Entry) -> Entry:
    """Return what a model answers by. ``now`` is the entry that the catalogue has for its base.

    Raises:
        NoWeights: as ``made_of``.
    """
    return _with(made_of(made), now, _ANSWERING)


def training_on(made: Made, now: Entry, base: str) -> Entry:
    """Return what a job is trained by that starts from a model. ``base`` is the name that ``now`` goes by.

    Raises:
        NoWeights: as ``made_of``.
        BadChain: it would train an adapter on a whole model, or the other way round.
    """
    own = made_of(made)
    whole = not is_adapter(made.directory)
    if whole != (now.tuning == "full"):
        made_as, back = ("a whole model", "full") if whole else ("an adapter", "lora or qlora")
        raise BadChain(  # a client shows 300 characters
            f"{made.name} is {made_as}, and the catalogue now says tuning: {now.tuning} for {base}. Say tuning: {back} "
            f"there again, start from {base}, or export the model and give merged a name of its own there."
        )
    return _with(own, now, _TRAINING)


def going_on(began: Entry, now: Entry) -> Entry:
    """Return what a job goes on by that began with another entry than the catalogue has now.

    Raises:
        BadChain: what it began with does not go with the resources of now.
    """
    return _with(began, now, _GOING_ON)


def source(entry: Entry) -> tuple[str | None, ...]:
    """Return what says which weights an entry's are."""
    return entry.hub, entry.revision, entry.path, entry.package


def _with(own: Entry, now: Entry, names: Sequence[str]) -> Entry:
    facts: Mapping[str, Any] = own.model_dump() | {name: getattr(now, name) for name in names}
    try:
        return Entry.model_validate(facts)
    except ValidationError as error:
        (fault, *_) = error.errors(include_url=False)
        words = fault["msg"].removeprefix("Value error, ")
        raise BadChain(f"The catalogue's resources do not go with what the job began with: {words}.") from error
