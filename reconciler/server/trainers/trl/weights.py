"""Loads models: bases, converted once where they are GGUF, with the adapter that was trained on them. Loads torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from reconciler.errors import UsageError
from reconciler.server.trainers.trl.catalogue import Entry, local_source
from reconciler.server.trainers.trl.faults import SERVER_ERROR, Failure, failure_of, said
from reconciler.server.trainers.trl.once import made_once
from reconciler.server.trainers.trl.shelf import is_adapter, slug

UNAVAILABLE = "model_not_available"
_NOT_SHOWN = {"RepositoryNotFoundError", "GatedRepoError", "RevisionNotFoundError", "DisabledRepoError"}
"""What the hub answers to whoever may not see a model. Anything else of its may pass."""


def base_directory(entry: Entry, cache: Path) -> tuple[str, str | None]:
    """Return what transformers loads a base by: a name or a directory, and the revision of a name.

    A GGUF file is converted into ``cache``, once for each size and time of change.

    Raises:
        Failure: it is not on this machine, or is no model.
    """
    try:
        source = local_source(entry)
    except UsageError as error:
        raise Failure(UNAVAILABLE, f"{error.message} {error.hint}", "model") from error
    if source is None:
        assert entry.hub is not None  # noqa: S101 - the catalogue checks it
        if Path(entry.hub).is_dir():  # transformers would load it, of whatever commit it is
            words = f"{Path(entry.hub).absolute()} would be taken for {entry.source}: start the server elsewhere, or "
            raise Failure(UNAVAILABLE, f"{words}name that directory as path in its catalogue.", "model")
        return entry.hub, entry.revision
    if source.suffix != ".gguf":
        if not (source / "config.json").is_file():
            words = f"{entry.source} cannot be loaded: there is no config.json in it."
            raise Failure(UNAVAILABLE, words, "model")
        return str(source), None
    facts = source.stat()
    target = cache / slug(f"{source.name}:{facts.st_size}:{facts.st_mtime_ns}")
    return str(made_once(target, lambda part: _convert(entry, source, part))), None


def _convert(entry: Entry, source: Path, target: Path) -> None:
    """Write a GGUF file as safetensors. A model loaded from GGUF refuses training until it forgets that it was."""
    given: dict[str, Any] = {"gguf_file": source.name}
    model = _load(entry, AutoModelForCausalLM, source.parent, **given, dtype=torch.float32)
    for name in ("hf_quantizer", "quantization_method", "is_quantized"):
        if name in vars(model):
            delattr(model, name)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(target)
    _load(entry, AutoTokenizer, source.parent, **given).save_pretrained(target)


def _load(entry: Entry, kind: Any, place: str | Path, **given: Any) -> Any:  # noqa: ANN401 - transformers is not typed
    """Load by one of transformers' classes. Unless told, they ask on the terminal, which is our pipe here.

    Raises:
        Failure: no later try would load it: what the catalogue names is no model, is not shown to this server, or
            brings code of its own. Whatever else goes wrong is raised as it is, and may pass.
    """
    try:
        return kind.from_pretrained(place, trust_remote_code=False, **given)
    except Exception as error:
        if failure_of(error).code != SERVER_ERROR:
            raise
        damaged = isinstance(error, OSError) and error.errno is None and Path(place).is_dir()  # the disk has a number
        chain = {type(each).__name__ for each in (error, error.__cause__, error.__context__)}
        if isinstance(error, ValueError) and "trust_remote_code" in str(error):
            why = " without code of its own, and this server runs no model's code."
        elif entry.hub and chain & _NOT_SHOWN:
            why = ": the hub does not show it here. Look at its name and commit, and at what HF_TOKEN may read."
        elif damaged or isinstance(error, ValueError | ImportError) or "SafetensorError" in chain:
            why = f": {said(error, 300)}"
        else:
            raise
        raise Failure(UNAVAILABLE, f"{entry.source} cannot be loaded{why}", "model") from error


def load_tokenizer(entry: Entry, cache: Path) -> Any:  # noqa: ANN401 - transformers is not typed
    """Load a base's tokenizer; one that has no token to pad with pads with the one that ends a text."""
    place, revision = base_directory(entry, cache)
    tokenizer = _load(entry, AutoTokenizer, place, revision=revision)
    if not tokenizer.is_fast:
        raise Failure(UNAVAILABLE, f"{entry.source} has no fast tokenizer, which training needs.", "model")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_base(entry: Entry, cache: Path, weights: Path | None = None) -> Any:  # noqa: ANN401
    """Load a base, or, where its fine-tunes are whole models, the one in ``weights``."""
    place, revision = base_directory(entry, cache)
    if weights is not None and not is_adapter(weights):
        place, revision = str(weights), None
    options: dict[str, Any] = {"dtype": dtype_of(entry)}
    if entry.tuning == "qlora":
        options["quantization_config"] = _four_bits(entry)
    return _load(entry, AutoModelForCausalLM, place, revision=revision, **options)


def dtype_of(entry: Entry) -> Any:  # noqa: ANN401
    """Return the type of numbers that a base is held in: bfloat16 where the accelerator has it, else float32."""
    if entry.dtype != "auto":
        return getattr(torch, entry.dtype)
    return torch.bfloat16 if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else torch.float32


def _four_bits(entry: Entry) -> Any:  # noqa: ANN401
    from importlib.util import find_spec  # noqa: PLC0415

    from transformers import BitsAndBytesConfig  # noqa: PLC0415

    if not torch.cuda.is_available() or find_spec("bitsandbytes") is None:
        raise Failure(UNAVAILABLE, "tuning: qlora needs an NVIDIA GPU and bitsandbytes here.", "model")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype_of(entry),
    )
