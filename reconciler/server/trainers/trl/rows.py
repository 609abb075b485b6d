"""From rows of a file to numbers of tokens, by method."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.server.trainers.trl.dialogue import Dialogue, Unsupported, tools_of
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
            token if end > start and any(start in span for span in learnt) else IGNORED
            for token, (start, end) in zip(ids, read["offset_mapping"], strict=True)
        ]
        ids, labels = self._shortened(ids), labels[: self.context]
        if all(label == IGNORED for label in labels[1:]):
            raise Unsupported(f"leaves nothing to learn within the model's {self.context} tokens")
        return {"input_ids": ids, "labels": labels}

    def dpo(self, row: Row) -> Row:
        """``prompt_ids``, ``chosen_ids`` and ``rejected_ids``: the answers without the prompt."""
        earlier = [{**message, "weight": 0} for message in row["input"]["messages"]]
        found: Row = {}
        for key, name in (("preferred_output", "chosen_ids"), ("non_preferred_output", "rejected_ids")):
            if len(row[key]) != 1:
                raise Unsupported(f"{key} has several messages; this server compares single answers")
            answer = {**row[key][0], "weight": 1}
            text, (span,) = self.dialogue.turns([*earlier, answer], tools_of(row["input"]))
            prompt = self._ids(text[: span.start])
            found["prompt_ids"] = prompt
            found[name] = self._shortened(prompt + self._ids(text[span.start : span.stop]))[len(prompt) :]
            if not found[name]:
                raise Unsupported(f"leaves nothing of {key} within the model's {self.context} tokens")
        return found

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


def read(path: Path, param: str, turn: Callable[[Row], Row]) -> list[Row]:
    """Read a file that has been checked, and turn each of its rows.

    Raises:
        Failure: a row cannot be trained on here; names the line.
    """
    found = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    found.append(turn(json.loads(line)))
                except Unsupported as error:
                    raise Failure(UNSUPPORTED, f"{param}, line {number}: {error}.", param) from error
    return found
