"""What a plan on a pull request leaves for the apply after its merge: what was reviewed, to the change. Pure.

It is one hidden line of the comment. It says what the plan is meant to do and not how far that has come, so nothing of
it is different because a job has started, ended or found a free slot meanwhile: a spec that waits for a slot or for the
model of another counts as one to be created, and a permission counts by the spec's word.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from reconciler.plan.model import Action, Change, Plan
from reconciler.spec.desired import Desired

LARGEST = 12_000
"""Characters of the line; where the changes of a plan do not fit, only their digest is kept."""

_LINE = re.compile(r"<!-- reviewed ([A-Za-z0-9+/=]+) -->")
_LARGEST_DOCUMENT = 1_000_000
_VERSION = 1
_ACTS = {"create", "resume", "pause", "cancel"}

Intent = tuple[str, str, str]
"""A name, what is meant for it, and a digest of which job or revision that is about."""


@dataclass(frozen=True, slots=True)
class Review:
    """What was reviewed: at which commit, for which server.

    ``digest`` is of all intents; ``intents`` is None where they were too many to keep.
    """

    commit: str
    server: str
    digest: str
    intents: frozenset[Intent] | None

    @classmethod
    def of(cls, plan: Plan, desired: Sequence[Desired], commit: str) -> Review:
        """Say of a plan what will have been reviewed."""
        intents = frozenset(_intents(plan, desired))
        return cls(commit, plan.server, _digest(sorted(intents)), intents)

    def line(self) -> str:
        """Return the hidden line."""
        line = self._line(self.intents)
        return line if len(line) <= LARGEST else self._line(None)

    def _line(self, intents: Iterable[Intent] | None) -> str:
        listed = None if intents is None else sorted(intents)
        text = json.dumps([_VERSION, self.commit, self.server, self.digest, listed], separators=(",", ":"))
        return f"<!-- reviewed {base64.b64encode(zlib.compress(text.encode(), 9)).decode()} -->"

    @classmethod
    def read(cls, body: str) -> Review | None:
        """Read it from a comment; None where there is none. It is among the first lines only: below, others speak."""
        for line in body.splitlines()[:3]:
            if found := _LINE.fullmatch(line):
                return _document(found[1])
        return None


def _document(text: str) -> Review | None:
    try:
        unpacked = zlib.decompressobj().decompress(base64.b64decode(text), _LARGEST_DOCUMENT)
        found = json.loads(unpacked)
    except (ValueError, zlib.error, RecursionError):
        return None
    match found:
        case [1, str(commit), str(server), str(digest), None]:
            return Review(commit, server, digest, None)
        case [1, str(commit), str(server), str(digest), [*listed]]:
            intents = frozenset(tuple(each) for each in listed if _is_intent(each))
            return Review(commit, server, digest, intents)
    return None


def _is_intent(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(isinstance(part, str) for part in value)


def _intents(plan: Plan, desired: Sequence[Desired]) -> Iterator[Intent]:
    for change in plan.changes:
        if (verb := _verb(change)) is not None:
            yield change.name, verb, _about(change, verb)
    for spec in desired:
        if spec.permissions:
            yield spec.name, "permissions", _digest(sorted(spec.permissions))


def _verb(change: Change) -> str | None:
    if change.action is Action.WAIT:
        return "create" if change.job_id is None else "wait"
    return change.action.value if change.action.acts else None


def _about(change: Change, verb: str) -> str:
    return _digest([change.revision, change.attempt] if verb == "create" else [change.job_id])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def unreviewed(review: Review, plan: Plan, desired: Sequence[Desired]) -> list[str]:
    """Say what a plan would do that was not reviewed, and what was reviewed and is not to come; empty where it holds.

    A reviewed change that has been made already (a run that is repeated) is none of these, and neither is a job that
    ended before it was paused or cancelled.
    """
    said = [] if review.server == plan.server else [f"the server was {review.server}, and is {plan.server} now"]
    now = frozenset(_intents(plan, desired))
    if review.digest == _digest(sorted(now)):
        return said
    if review.intents is None:
        return [*said, "the changes are others; they were too many to keep a list of"]
    granted = {access.name for access in plan.access if access.acts}
    for name, verb, about in sorted(now - review.intents):
        if verb in _ACTS or (verb == "permissions" and name in granted):
            said += _added(name, verb, about, review.intents)
    made = {(c.name, _about(c, "create")) for c in plan.changes if c.job_id is not None}
    adding = {(name, verb) for name, verb, _ in now}
    for name, verb, about in sorted(review.intents - now):
        if verb == "create" and (name, about) not in made and (name, verb) not in adding:
            said.append(f"{name}: create was reviewed, and is no longer to come")
    return said


def _added(name: str, verb: str, about: str, reviewed: frozenset[Intent]) -> list[str]:
    if verb in ("pause", "resume") and (name, "wait", about) in reviewed:
        return []
    if verb == "cancel" and any((name, "create") == (n, v) for n, v, _ in reviewed):
        return []  # what the reviewed job replaces
    if any((name, verb) == (n, v) for n, v, _ in reviewed):
        what = {"create": "another revision or attempt", "permissions": "other projects"}.get(verb, "another job")
        return [f"{name}: {verb} was reviewed for {what}"]
    return [f"{name}: {verb} was not reviewed"]
