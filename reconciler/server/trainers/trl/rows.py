"""From rows of a file to numbers of tokens, by method."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.server.trainers.trl.dialogue import Dialogue, Place, Unsupported, tools_of
from reconciler.server.trainers.trl.faults import Failure

IGNORED = -100
"""The label of a token that is read and not learnt."""
UNSUPPORTED = "unsupported_training_data"
Row = dict[str, Any]


@dataclass
class Reader:
    """Turns rows into what TRL trains on. ``tokenizer`` is transformers'; ``context`` is in tokens.

    ``cut`` counts the rows that were longer, and lost their end.
    """

    tokenizer: Any
    dialogue: Dialogue
    context: int
    answer: int
    cut: int = field(default=0, init=False)

    def supervised(self, row: Row) -> Row:
        """``input_ids``, and ``labels`` that are IGNORED but for what the assistant says."""
        if "messages" in row:
            text, learnt = self.dialogue.turns(row["messages"], tools_of(row))
            special = False
        else:
            text = row["prompt"] + row["completion"] + (self.tokenizer.eos_token or "")
            learnt, special = [range(len(row["prompt"]), len(text))], True
        read = self.tokenizer(text, add_special_tokens=special, return_offsets_mapping=True)
        ids: list[int] = read["input_ids"]
        labels = [
            token if said else IGNORED for token, said in zip(ids, _within(learnt, read["offset_mapping"]), strict=True)
        ]
        ids, labels = self._shortened(ids), labels[: self.context]
        if all(label == IGNORED for label in labels[1:]):
            raise Unsupported(f"leaves nothing to learn within the model's {self.context} tokens")
        return {"input_ids": ids, "labels": labels}

    def dpo(self, row: Row) -> Row:
        """``prompt_ids``, and the ``chosen`` and the ``rejected`` output after it: ``_ids``, and ``_mask``.

        A mask has a 1 for each token that the assistant says; what tools answer in between is read only.
        """
        asked, tools = [{**message, "weight": 0} for message in row["input"]["messages"]], tools_of(row["input"])
        prompt = self.dialogue.prompt(asked, tools, _place("input.messages"))
        ids = self._ids(prompt)
        found: Row = {"prompt_ids": ids}
        for key, name in (("preferred_output", "chosen"), ("non_preferred_output", "rejected")):
            text, spans = self.dialogue.turns([*asked, *row[key]], tools, _place(key, len(asked)))
            if not text.startswith(prompt):
                raise Unsupported(f"{key}[0] must be what the assistant says next: put a tool's answer into input")
            said, mask = self._output(text, spans, len(prompt))
            found[f"{name}_ids"] = self._shortened(ids + said)[len(ids) :]
            found[f"{name}_mask"] = mask[: len(found[f"{name}_ids"])]
            if not any(found[f"{name}_mask"]):
                raise Unsupported(f"leaves nothing to learn of {key} within the model's {self.context} tokens")
        return found

    def _output(self, text: str, spans: list[range], start: int) -> tuple[list[int], list[int]]:
        """Return the tokens from ``start`` to the last that the assistant says, and which of them it says."""
        stop = max((span.stop for span in spans), default=start)
        read = self.tokenizer(text[start:stop], add_special_tokens=False, return_offsets_mapping=True)
        said = _within([range(span.start - start, span.stop - start) for span in spans], read["offset_mapping"])
        return read["input_ids"], [int(each) for each in said]

    def reinforcement(self, row: Row) -> Row:
        """``prompt``, as text that the tokenizer reads with special tokens of its own, and ``item``, the row."""
        prompt = self.dialogue.prompt(row["messages"], tools_of(row))
        if len(self._ids(prompt)) + self.answer > self.context:
            raise Unsupported(f"leaves no room for an answer of {self.answer} within the model's {self.context} tokens")
        start = self.tokenizer.bos_token
        if start and prompt.startswith(start) and self.tokenizer("x")["input_ids"][0] == self.tokenizer.bos_token_id:
            prompt = prompt.removeprefix(start)
        return {"prompt": prompt, "item": json.dumps(row)}

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _shortened(self, ids: list[int]) -> list[int]:
        self.cut += len(ids) > self.context
        return ids[: self.context]


def _within(spans: Sequence[range], offsets: Sequence[tuple[int, int]]) -> list[bool]:
    """Say of each token, by where it stands in the text, whether it belongs to one of some spans."""
    return [end > start and any(start in span for span in spans) for start, end in offsets]


def _place(key: str, before: int = 0) -> Place:
    """Name a message by its place in a row's ``key``, which ``before`` others go before."""
    return lambda number: f"{key}[{number - before}]" if number >= before else f"input.messages[{number}]"


def read(path: Path, param: str, turn: Callable[[Row], Row]) -> list[Row]:
    """Read a file that has been checked, and turn each of its rows. Numbers of tokens take four bytes each.

    Raises:
        Failure: a row cannot be trained on here; names the line.
    """
    found = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    row = turn(json.loads(line))
                except Unsupported as error:
                    raise Failure(UNSUPPORTED, f"{param}, line {number}: {error}.", param) from error
                found.append(
                    {key: array("i", value) if isinstance(value, list) else value for key, value in row.items()}
                )
    return found
