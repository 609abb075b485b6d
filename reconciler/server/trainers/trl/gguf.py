"""GGUF, as llama.cpp and Ollama read it: written by llama.cpp's own converter, which is no part of this program."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import ReconcilerError, UsageError

SCRIPT = "convert_hf_to_gguf.py"
VARIABLE = "RECONCILER_GGUF_CONVERTER"
_KEYS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
_WORDS = 300


@dataclass(frozen=True, slots=True)
class Gguf:
    """What is wanted: the type of its numbers, and what converts to it."""

    type: str
    converter: Path


def find_converter(given: Path | None) -> Path:
    """Return the converter: the one that is given, itself or in a directory, else the one on PATH.

    Raises:
        UsageError: there is none; says where it is to be had.
    """
    found = given or shutil.which(SCRIPT)
    if found is None:
        raise UsageError(
            f"--gguf needs llama.cpp's {SCRIPT}, which is not on PATH.",
            hint="It comes with llama.cpp (brew install llama.cpp, or its source): "
            f"name it with --gguf-converter or {VARIABLE}.",
        )
    path = Path(found) / SCRIPT if Path(found).is_dir() else Path(found)
    if not path.is_file():
        raise UsageError(
            f"There is no converter at {path}.", hint=f"Name llama.cpp's {SCRIPT}, or the directory it is in."
        )
    return path.resolve()


def convert(wish: Gguf, model: Path, target: Path, *, environment: Mapping[str, str] = os.environ) -> None:
    """Write a directory of safetensors as one GGUF file beside it, with the model's chat template in it.

    Raises:
        ReconcilerError: the converter failed, or left something out; says its last words.
    """
    log = target.with_name("gguf.log")
    command = [sys.executable, str(wish.converter), model.name, "--outfile", target.name, "--outtype", wish.type]
    kept = {name: value for name, value in environment.items() if name not in _KEYS}
    with log.open("wb") as output:
        code = subprocess.run(  # noqa: S603 - what the user names
            [*command, "--model-name", target.stem],
            cwd=target.parent,
            env={**kept, **_OFFLINE},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    said = log.read_bytes().decode(errors="replace")
    log.unlink()
    if code:
        raise ReconcilerError(f"{wish.converter.name} failed ({code}): {_last_words(said)}", hint=_hint(said))
    _check(target, wish.converter.name)


def _last_words(said: str) -> str:
    return next((line.strip()[:_WORDS] for line in reversed(said.split("\n")) if line.strip()), "it said nothing.")


def _hint(said: str) -> str:
    if "ModuleNotFoundError" in said:
        return f"It runs with {sys.executable}: install what it lacks there."
    return "Without --gguf the same weights are written as safetensors. A newer llama.cpp may know the model."


def _check(file: Path, converter: str) -> None:
    from gguf import GGUFReader  # noqa: PLC0415 - of the extra

    try:
        fields = GGUFReader(file).fields
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise ReconcilerError(f"{converter} ended well, but wrote no GGUF file.", hint=str(error)[:_WORDS]) from error
    if "tokenizer.chat_template" not in fields:
        raise ReconcilerError(f"{converter} left the chat template out.", hint="Take a newer one: this one is too old.")
