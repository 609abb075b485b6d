"""The catalogue: which base models this server trains, by the names that the API's clients use."""

from __future__ import annotations

import difflib
import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ByteSize, ConfigDict, Field, model_validator

from reconciler.api.types import MethodType
from reconciler.errors import UsageError
from reconciler.server import lifecycle
from reconciler.server.settings_file import read_settings

FILE = "models.yaml"
"""What a catalogue is called in the server's directory."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_RATES: Mapping[MethodType, float] = {"supervised": 1e-4, "dpo": 1e-5, "reinforcement": 2e-5}


def _like(pattern: str, words: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {words}")
        return text

    return AfterValidator(check)


Rate = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Lora(_Strict):
    """The adapter that is trained. ``targets`` names layers, or is ``all-linear``."""

    rank: Count = 16
    alpha: Count = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Literal["all-linear"] | Annotated[list[str], Field(min_length=1)] = "all-linear"


class Rates(_Strict):
    """The learning rate that a multiplier of 1 stands for, by method."""

    supervised: Rate = _RATES["supervised"]
    dpo: Rate = _RATES["dpo"]
    reinforcement: Rate = _RATES["reinforcement"]


class Resources(_Strict):
    """What a job asks a cluster for: ``workers`` that train together, and what each of them has.

    That is processors, bytes of memory, and up to one GPU (None: one if there are any). ``strategy`` is how several
    hold the model: ``ddp``, each all of it, or ``fsdp``, each a part.
    """

    workers: Count = 1
    strategy: Literal["ddp", "fsdp"] = "ddp"
    gpus: Annotated[float, Field(ge=0, le=1)] | None = None
    cpus: Count = 1
    memory: ByteSize | None = None

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.workers > 1 and self.gpus not in {None, 0, 1}:
            raise ValueError("several workers have a whole GPU each: gpus is 1 or 0, or left out")
        if self.strategy == "fsdp" and (self.workers == 1 or self.gpus == 0):
            raise ValueError("strategy fsdp spreads a model over several workers with a GPU each")
        return self


class Entry(_Strict):
    """A base model: where its weights are, and how it is trained.

    Exactly one of ``hub`` (OWNER/NAME of the Hugging Face hub, with ``revision``), ``path`` (a directory of
    safetensors, or a GGUF file; relative to the catalogue) and ``package`` (MODULE/FILE inside an installed Python
    package) is given. ``context`` and ``answer`` are in tokens: rows are cut at the first, answers sampled by
    reinforcement at the second. ``micro_batch`` is how many rows are held in memory at once, ``generations`` how many
    answers a prompt gets at a ``compute_multiplier`` of 1. ``chat_template`` names a file; a catalogue that was read
    has its text.
    """

    hub: Annotated[str, _like(r"[\w.-]+/[\w.-]+", "OWNER/NAME")] | None = None
    revision: Annotated[str, _like(r"[\w./-]+", "a commit's 40 hex digits")] | None = None
    path: str | None = None
    package: Annotated[str, _like(r"\w+/.+", "MODULE/FILE")] | None = None
    licence: str | None = None
    learning_rate: Rates = Rates()
    context: Count = 2048
    answer: Count = 256
    tuning: Literal["lora", "qlora", "full"] = "lora"
    lora: Lora = Lora()
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    chat_template: str | None = None
    reasoning_effort: bool = False
    micro_batch: Count = 8
    generations: Annotated[int, Field(ge=2)] = 8
    gradient_checkpointing: bool = False
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("hub", "path", "package") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of hub, path and package, not {' and '.join(given) or 'none'}")
        if self.hub and not self.revision:
            raise ValueError("hub needs a revision, a commit's 40 hex digits: what is trained must not move")
        if self.revision and not self.hub:
            raise ValueError("revision belongs to hub")
        return self

    @model_validator(mode="after")
    def _can_be_spread(self) -> Self:
        if self.tuning == "qlora" and self.resources.strategy == "fsdp":
            raise ValueError("tuning qlora goes with strategy ddp: weights of four bits are not spread")
        return self

    @property
    def source(self) -> str:
        """Where the weights come from, for people: the same on every machine."""
        return f"{self.hub}@{self.revision}" if self.hub else self.package or Path(self.path or "").name


def _pinned(entry: Entry) -> Entry:
    """Refuse a branch or a tag. Cards of models that were made by one are read all the same."""
    if entry.revision and not _COMMIT.fullmatch(entry.revision):
        raise ValueError(
            f"revision {entry.revision!a} is no commit, and a branch or a tag may move: give the 40 hex digits that "
            f"'hf models info {entry.hub}' shows as sha"
        )
    return entry


class _File(_Strict):
    models: Annotated[dict[str, Annotated[Entry, AfterValidator(_pinned)]], Field(min_length=1)]


class Catalogue:
    """The base models of a server, by name."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = {lifecycle.ALIASES.get(name, name): entry for name, entry in entries.items()}

    @property
    def names(self) -> Sequence[str]:
        """All names, in order."""
        return sorted(self._entries)

    def find(self, base: str) -> Entry | None:
        """Return the entry of a base model."""
        return self._entries.get(base)

    def near(self, base: str) -> str:
        """Say which names there are, the likeliest first, at most five."""
        close = difflib.get_close_matches(base, self.names, n=5, cutoff=0.4)
        rest = [name for name in self.names if name not in close]
        shown = [*close, *rest][:5]
        more = len(self.names) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more else "")


def load_catalogue(path: Path) -> Catalogue:
    """Read a catalogue; paths in it are made absolute.

    Raises:
        UsageError: it cannot be read or says something that means nothing; every fault is named.
    """
    if not path.exists():
        raise UsageError(
            f"There is no catalogue of models at {path}.",
            hint="Write one (see docs/training.md), or name another with --models or RECONCILER_MODELS.",
        )
    file = read_settings(path, _File, guide="docs/training.md")
    if odd := [name for name in file.models if not lifecycle.is_base_name(name)]:
        raise UsageError(f"{path}: models.{odd[0]}: a name is letters, digits and . _ / @ + -, without 'ft:'.")
    for alias, dated in lifecycle.ALIASES.items():
        if {alias, dated} <= file.models.keys():
            raise UsageError(f"{path}: models.{alias} and models.{dated} are one model's names: keep one of them.")
    return Catalogue({name: _absolute(name, entry, path) for name, entry in file.models.items()})


def _absolute(name: str, entry: Entry, catalogue: Path) -> Entry:
    changes: dict[str, Any] = {}
    if entry.path:
        changes["path"] = str(_existing(catalogue, f"models.{name}.path", entry.path))
    if entry.chat_template:
        changes["chat_template"] = _template(catalogue, f"models.{name}.chat_template", entry.chat_template)
    return entry.model_copy(update=changes)


def _existing(catalogue: Path, key: str, given: str) -> Path:
    place = (catalogue.parent / given).resolve()
    if not place.exists():
        raise UsageError(
            f"{catalogue}: {key}: {given} does not exist.",
            hint=f"It is looked for beside the catalogue: {place}.",
        )
    return place


def _template(catalogue: Path, key: str, given: str) -> str:
    try:
        text = _existing(catalogue, key, given).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{catalogue}: {key}: {given} cannot be read: {error}.") from error
    if "{" not in text:
        raise UsageError(f"{catalogue}: {key}: {given} is no chat template: it has no place for messages.")
    return text


def local_source(entry: Entry) -> Path | None:
    """Return where an entry's weights lie on this machine, None for those of a hub.

    Raises:
        UsageError: the package is not installed, or has no such file.
    """
    if entry.path:
        return Path(entry.path)
    if not entry.package:
        return None
    module, _, file = entry.package.partition("/")
    spec = importlib.util.find_spec(module)
    for folder in (spec and spec.submodule_search_locations) or ():
        if (place := Path(folder) / file).is_file():
            return place
    raise UsageError(f"The package {module} is not installed here, or has no file {file}.", hint="Install it with pip.")
