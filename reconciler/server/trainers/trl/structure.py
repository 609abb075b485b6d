"""Holds what a model samples to a grammar, token by token. Loads torch and llguidance."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
from llguidance import LLExecutor, LLMatcher
from llguidance.hf import from_tokenizer
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask_par
from transformers import LogitsProcessor

from reconciler.server.trainers.trl.faults import Failure

UNHELD = "unsupported_parameter"
"""Code of an error for a model whose tokens cannot be held to anything, and for a schema that asks too much."""


class Holder:
    """Holds answers of one tokenizer, of which ``ends`` end one. ``param`` is named where that cannot be done."""

    def __init__(self, tokenizer: Any, ends: Collection[int], param: str) -> None:  # noqa: ANN401
        try:
            self._tokens = from_tokenizer(tokenizer, eos_token=sorted(ends))
        except ValueError as error:
            words = f"Answers of this model cannot be held to a schema: {error}"
            raise Failure(UNHELD, words, param) from error
        self._executor = LLExecutor(torch.get_num_threads())
        self._param = param
        self._fresh = functools.lru_cache(64)(functools.partial(LLMatcher, self._tokens, log_level=0))

    def structure(self, grammars: Sequence[str]) -> Structure:
        """Return what holds each row of one call of ``generate`` to its grammar."""
        matchers = [self._fresh(grammar).deep_copy() for grammar in grammars]
        return Structure(matchers, self._executor, self._tokens.vocab_size, self._param)

    @contextlib.contextmanager
    def holding(self, model: Any, grammars: Sequence[str]) -> Iterator[None]:  # noqa: ANN401
        """Hold what a model generates, where somebody else asks it to, and gives it no processors."""
        own = vars(model).get("generate")  # there is one where several workers hold the model in parts
        model.generate = functools.partial(model.generate, logits_processor=[self.structure(grammars)])
        try:
            yield
        finally:
            if own is None:
                del model.generate
            else:
                model.generate = own


class Structure(LogitsProcessor):  # type: ignore[misc]  # transformers is not typed
    """Lets each row go on only as its grammar does, and end only once that is satisfied. For one call of ``generate``.

    Rows end at different times; what pads one that has ended is not read.
    """

    def __init__(self, matchers: Sequence[LLMatcher], executor: LLExecutor, size: int, param: str) -> None:
        self._matchers = matchers
        self._executor = executor
        self._size = size
        self._param = param
        self._read: int | None = None

    def __call__(self, input_ids: Any, scores: Any) -> Any:  # noqa: ANN401
        """Forbid what no grammar allows next. The tokens of the first call are the prompt's."""
        if self._read is not None:
            for matcher, tokens in zip(self._matchers, input_ids[:, self._read :].tolist(), strict=True):
                for token in tokens:
                    if not matcher.is_stopped():
                        matcher.consume_token(token)
        self._read = input_ids.shape[1]
        return scores.masked_fill(~self._allowed(scores), float("-inf"))

    def _allowed(self, scores: Any) -> Any:  # noqa: ANN401
        """Return which tokens may come next; a model may have more than its tokenizer, and those never may."""
        filled = allocate_token_bitmask(len(self._matchers), self._size)
        fill_next_token_bitmask_par(self._executor, [(each, row) for row, each in enumerate(self._matchers)], filled)
        for matcher in self._matchers:
            if matcher.is_error():
                what = matcher.get_error().split("\n")[0][:200]
                raise Failure(UNHELD, f"An answer could not be held to its schema: {what}", self._param)
        words = torch.from_numpy(filled).to(scores.device)
        bits = (words.unsqueeze(-1) >> torch.arange(32, dtype=torch.int32, device=scores.device)) & 1
        known = bits.flatten(1)[:, : min(self._size, scores.shape[1])].bool()
        return torch.nn.functional.pad(known, (0, scores.shape[1] - known.shape[1]))
