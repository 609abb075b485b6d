"""Write the training data of ``specs/`` and ``examples/``: ``python scripts/make_data [ROOT]``.

Every row is computed from facts, so every answer is right. The bytes are the same each time: every task has its
own seed. Its rows are distinct by what they ask; the first ones validate, so that a training file can grow and leave
the validation file as it is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from confirmations import confirmation
from conversions import conversion
from deadlines import deadline
from desks import desks, nobody, plain_words
from inbox import inbox, preference, thread
from samples import country, number, week, weekday

Row = dict[str, Any]
Task = tuple[Callable[[Random], Row], dict[str, int]]

TASKS: tuple[Task, ...] = (
    (inbox, {"specs/data/inbox.valid.jsonl": 44, "specs/data/inbox.train.jsonl": 240}),
    (thread, {"specs/data/threads.valid.jsonl": 40, "specs/data/threads.train.jsonl": 200}),
    (preference, {"specs/data/strict.valid.jsonl": 40, "specs/data/strict.train.jsonl": 200}),
    (deadline, {"specs/data/deadlines.valid.jsonl": 40, "specs/data/deadlines.train.jsonl": 220}),
    (conversion, {"specs/data/units.valid.jsonl": 44, "specs/data/units.train.jsonl": 260}),
    (confirmation, {"specs/data/confirm.valid.jsonl": 40, "specs/data/confirm.train.jsonl": 220}),
    (week, {"examples/minimal/specs/data/weeks.jsonl": 40}),
    (country, {"examples/environments/specs/data/countries.jsonl": 60}),
    (
        weekday,
        {
            "examples/github/specs/data/weekdays.valid.jsonl": 20,
            "examples/github/specs/data/weekdays.train.jsonl": 60,
        },
    ),
    (
        number,
        {
            "examples/self-hosted/specs/data/numbers.valid.jsonl": 20,
            "examples/self-hosted/specs/data/numbers.train.jsonl": 60,
        },
    ),
)
_DATA = "examples/open-weights/specs/data"
WHOLE: tuple[tuple[Callable[[], Iterator[Row]], dict[str, int]], ...] = (
    (
        desks,
        {
            f"{_DATA}/desk.train.jsonl": 160,
            f"{_DATA}/desk.valid.jsonl": 20,
            "examples/open-weights/held-out.jsonl": 50,
        },
    ),
    (nobody, {f"{_DATA}/nobody.jsonl": 16}),
    (plain_words, {f"{_DATA}/plain-words.jsonl": 16}),
)
"""Tasks of as many rows as there are."""


def prompt(row: Row) -> str:
    """Return what a row asks, without its answer."""
    messages = row["input"]["messages"] if "input" in row else row["messages"]
    return "\n".join(m["content"] for m in messages if m["role"] == "user")


def distinct(make: Callable[[Random], Row]) -> Iterator[Row]:
    """Yield rows without end, no two of which ask the same."""
    rng = Random(make.__name__)
    seen: set[str] = set()
    while True:
        row = make(rng)
        if (asked := prompt(row)) not in seen:
            seen.add(asked)
            yield row


def write(root: Path) -> None:
    """Write every file below ``root``."""
    found = [(distinct(make), files) for make, files in TASKS] + [(make(), files) for make, files in WHOLE]
    for rows, files in found:
        for name, count in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = (json.dumps(next(rows), ensure_ascii=False, separators=(",", ":")) for _ in range(count))
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2])
