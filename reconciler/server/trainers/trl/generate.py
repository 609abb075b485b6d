"""Answers from one base in memory, with adapters on it. Loads torch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import StoppingCriteria, TextStreamer, set_seed

from reconciler.server.trainers.trl.catalogue import Entry
from reconciler.server.trainers.trl.dialogue import Dialogue
from reconciler.server.trainers.trl.faults import Failure
from reconciler.server.trainers.trl.origin import source
from reconciler.server.trainers.trl.sampler import Asked, Said
from reconciler.server.trainers.trl.shelf import is_adapter, slug
from reconciler.server.trainers.trl.template import EFFORT, effort_refused
from reconciler.server.trainers.trl.weights import load_base, load_tokenizer

_MOST_ADAPTERS = 8
_COLDEST = 1e-4
"""A temperature below it changes no answer any more, and what is divided by it overflows."""


class _Told(TextStreamer):  # type: ignore[misc]  # transformers is not typed
    """Passes text on as soon as it will not change any more."""

    def __init__(self, tokenizer: Any, tell: Callable[[str], None]) -> None:  # noqa: ANN401
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._tell = tell

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:  # noqa: ARG002
        if text:
            self._tell(text)


class _Cancelled(StoppingCriteria):  # type: ignore[misc]
    """Ends an answer that nobody reads any more."""

    def __init__(self, cancelled: threading.Event) -> None:
        self._cancelled = cancelled

    def __call__(self, input_ids: Any, *_: Any, **__: Any) -> Any:  # noqa: ANN401
        return torch.full((input_ids.shape[0],), self._cancelled.is_set(), device=input_ids.device)


class Models:
    """The models that were asked last. ``tell`` is called with each piece of an answer's text."""

    def __init__(self, cancelled: threading.Event, tell: Callable[[str], None]) -> None:
        self._cancelled = cancelled
        self._tell = tell
        self._held: tuple[object, Any, Any] = (None, None, None)
        self._adapters: list[str] = []
        self._holder: Any = None

    def answer(self, asked: Asked) -> Said:
        """Answer one question; return how the answer ended.

        Raises:
            Failure: the weights cannot be loaded, the question is too long, or the model knows nothing of an effort.
            Unsupported: the model cannot read the messages.
        """
        if asked.threads is not None:
            torch.set_num_threads(asked.threads)
        model, tokenizer, base_alone = self._ready(asked)
        effort = asked.reasoning_effort
        dialogue = Dialogue(tokenizer, asked.entry.chat_template, {EFFORT: effort} if effort else {})
        if words := effort_refused(effort, asked.entry, dialogue.template):
            raise Failure("unsupported_parameter", words, EFFORT)
        prompt = dialogue.prompt(asked.messages, asked.tools)
        read = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").to(model.device)
        length = read["input_ids"].shape[1]
        room = asked.entry.context - length
        if room < 1:
            words = f"The messages are {length} tokens, and the model reads at most {asked.entry.context}."
            raise Failure("context_length_exceeded", words, "messages")
        if asked.seed is not None:
            set_seed(asked.seed % 2**32)
        most = min(room, asked.most or room)
        with base_alone, torch.inference_mode():
            made = model.generate(**read, **self._options(asked, model, tokenizer), max_new_tokens=most)
        count = made.shape[1] - length
        ended = int(made[0, -1]) in _ends(model, tokenizer) or count < most
        return Said(kind="end", reason="stop" if ended else "length", prompt_tokens=length, completion_tokens=count)

    def _options(self, asked: Asked, model: Any, tokenizer: Any) -> dict[str, Any]:  # noqa: ANN401
        greedy = asked.temperature < _COLDEST
        sampling = {} if greedy else {"temperature": asked.temperature, "top_p": asked.top_p, "top_k": 0}
        return {
            "do_sample": not greedy,
            **sampling,
            "repetition_penalty": 1.0,
            "eos_token_id": sorted(_ends(model, tokenizer)),
            "pad_token_id": tokenizer.pad_token_id,
            "stop_strings": asked.stop or None,
            "tokenizer": tokenizer,
            "streamer": _Told(tokenizer, self._tell),
            "stopping_criteria": [_Cancelled(self._cancelled)],
            "logits_processor": [self._structure(asked.grammar, model, tokenizer)] if asked.grammar else [],
        }

    def _structure(self, grammar: str, model: Any, tokenizer: Any) -> Any:  # noqa: ANN401
        if self._holder is None:
            from reconciler.server.trainers.trl.structure import Holder  # noqa: PLC0415 - only where it is asked for

            self._holder = Holder(tokenizer, _ends(model, tokenizer), "response_format")
        return self._holder.structure([grammar])

    def _ready(self, asked: Asked) -> tuple[Any, Any, AbstractContextManager[Any]]:
        """Have the model in memory, with the right adapter active, or none."""
        adapter = asked.weights if asked.weights is not None and is_adapter(asked.weights) else None
        whole = asked.weights if adapter is None else None
        key = (_loaded_by(asked.entry), whole)
        if self._held[0] != key:
            self._held, self._adapters, self._holder = (None, None, None), [], None
            model = load_base(asked.entry, asked.cache, whole).eval()
            if asked.entry.tuning != "qlora":  # four bits are on the GPU already, and cannot be moved
                model.to("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
            self._held = (key, model, load_tokenizer(asked.entry, asked.cache))
        _, model, tokenizer = self._held
        if adapter is not None:
            return self._with(adapter), tokenizer, nullcontext()
        return model, tokenizer, model.disable_adapter() if isinstance(model, PeftModel) else nullcontext()

    def _with(self, adapter: Path) -> Any:  # noqa: ANN401
        key, model, tokenizer = self._held
        name = slug(str(adapter)).replace(".", "-")
        if name not in self._adapters:
            if isinstance(model, PeftModel):
                model.load_adapter(adapter, adapter_name=name)
            else:
                model = PeftModel.from_pretrained(model, adapter, adapter_name=name).eval()
                self._held = (key, model, tokenizer)
        else:
            self._adapters.remove(name)
        self._adapters.append(name)
        model.set_adapter(name)
        if len(self._adapters) > _MOST_ADAPTERS:
            model.delete_adapter(self._adapters.pop(0))
        return model


def _loaded_by(entry: Entry) -> tuple[object, ...]:
    """Return what of an entry says which base is in memory: fine-tunes that differ in the rest share it."""
    return *source(entry), entry.dtype, entry.tuning == "qlora"


def _ends(model: Any, tokenizer: Any) -> set[int]:  # noqa: ANN401
    """Every token that ends an answer: the model's, and the one that ends a turn of the chat."""
    known = model.generation_config.eos_token_id
    known = known if isinstance(known, list) else [known]
    return {int(token) for token in [*known, tokenizer.eos_token_id] if token is not None}
