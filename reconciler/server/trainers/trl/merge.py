"""The exporting subprocess: ``python -m reconciler.server.trainers.trl.merge ORDER.json``. Loads torch.

It writes ``adapter`` (for a model that has one) and ``merged``: a whole model of safetensors with its tokenizer, and,
where it is to become GGUF, Ollama's ``Modelfile``.
"""

from __future__ import annotations

import json
import shutil
import sys
import traceback
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from reconciler.server.trainers.trl.catalogue import Entry
from reconciler.server.trainers.trl.child import Loading, Parent
from reconciler.server.trainers.trl.faults import failure_of
from reconciler.server.trainers.trl.order import Told
from reconciler.server.trainers.trl.shelf import is_adapter

MERGED = "merged"
"""Where the whole model goes."""


class MergeOrder(BaseModel):
    """What is to be written where: weights of a base's entry, into a new directory. ``gguf`` names the later file."""

    model_config = ConfigDict(frozen=True)

    entry: Entry
    cache: Path
    weights: Path
    target: Path
    gguf: str | None = None


def main(file: str) -> None:
    """Do as the order says, and tell how it ended."""
    parent = Parent()
    parent.listen(lambda _: None)
    try:
        _merge(MergeOrder.model_validate_json(Path(file).read_bytes()))
        told = Told(kind="done")
    except BaseException as error:  # noqa: BLE001 - whatever it is, the command has to show it
        traceback.print_exc()
        failure = failure_of(error, "exporting")
        told = Told(kind="failed", code=failure.code, message=str(failure))
    parent.tell(told.model_dump_json(exclude_defaults=True))


def _merge(order: MergeOrder) -> None:
    with Loading():
        from peft import PeftModel  # noqa: PLC0415 - after the pipe is safe from what libraries print

        from reconciler.server.trainers.trl.dialogue import Dialogue  # noqa: PLC0415
        from reconciler.server.trainers.trl.modelfile import modelfile  # noqa: PLC0415
        from reconciler.server.trainers.trl.weights import load_base, load_tokenizer  # noqa: PLC0415

    whole = order.entry.model_copy(update={"tuning": "full"})  # nothing is merged into four bits
    model = load_base(whole, order.cache, order.weights)
    if is_adapter(order.weights):
        model = PeftModel.from_pretrained(model, order.weights).merge_and_unload()
        shutil.copytree(order.weights, order.target / "adapter")
        _name_base(order.target / "adapter" / "adapter_config.json", order.entry)
    model.save_pretrained(order.target / MERGED)
    tokenizer = load_tokenizer(order.entry, order.cache)
    dialogue = Dialogue(tokenizer, order.entry.chat_template, {})
    tokenizer.chat_template = dialogue.template
    tokenizer.save_pretrained(order.target / MERGED)
    if order.gguf:
        text = modelfile(order.gguf, dialogue, begins=tokenizer.bos_token, ends=tokenizer.eos_token)
        (order.target / "Modelfile").write_text(text, encoding="utf-8")


def _name_base(config: Path, entry: Entry) -> None:
    """Name the base as others know it, not by where it lies on this machine."""
    facts = json.loads(config.read_text())
    facts |= {"base_model_name_or_path": entry.hub or entry.source, "revision": entry.revision}
    config.write_text(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main(sys.argv[1])
