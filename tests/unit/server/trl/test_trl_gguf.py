"""How llama.cpp's converter is found and called, what is said where it fails, and what Ollama is told."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import ReconcilerError, UsageError
from reconciler.server.trainers.trl.dialogue import Dialogue
from reconciler.server.trainers.trl.gguf import SCRIPT, Gguf, convert, find_converter
from reconciler.server.trainers.trl.modelfile import modelfile

FAKE = Path(__file__).with_name("fake_converter.py")
needs_gguf = pytest.mark.skipif(
    importlib.util.find_spec("gguf") is None, reason="needs the package gguf: pip install -e '.[train]'"
)


@pytest.fixture
def merged(tmp_path: Path) -> Path:
    place = tmp_path / "{odd}" / "merged"
    place.mkdir(parents=True)
    (place / "config.json").write_text("{}")
    (place / "chat_template.jinja").write_text("the template")
    return place


def script(tmp_path: Path, program: str) -> Path:
    path = tmp_path / SCRIPT
    path.write_text(program)
    return path


def read(file: Path) -> dict[str, str]:
    from gguf import GGUFReader  # noqa: PLC0415 - of the extra

    fields = GGUFReader(file).fields
    return {name: str(fields[name].contents()) for name in fields if not name.startswith("GGUF.")}


@pytest.mark.slow
@needs_gguf
def test_a_model_is_converted_with_its_template_offline_and_without_the_token(merged: Path) -> None:
    file = merged.with_name("inbox.gguf")
    convert(Gguf("q8_0", FAKE), merged, file, environment={**os.environ, "HF_TOKEN": "hf_x"})
    found = read(file)
    assert (found["general.name"], found["test.type"]) == ("inbox", "q8_0")
    assert found["tokenizer.chat_template"] == "the template"
    assert json.loads(found["test.environment"]) == {
        "HF_TOKEN": None,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }
    assert sorted(path.name for path in merged.parent.iterdir()) == ["inbox.gguf", "merged"]


WITHOUT_TEMPLATE = f"""
import pathlib, sys
sys.path.insert(0, {str(FAKE.parent)!r})
pathlib.Path("merged/chat_template.jinja").unlink()
from fake_converter import main
main()
"""


@pytest.mark.slow
@needs_gguf
@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("pass", "wrote no GGUF file"),
        ("open('inbox.gguf', 'wb').write(b'no such thing')", "wrote no GGUF file"),
        (WITHOUT_TEMPLATE, "left the chat template out"),
    ],
)
def test_what_a_converter_writes_is_looked_at(merged: Path, tmp_path: Path, program: str, words: str) -> None:
    with pytest.raises(ReconcilerError, match=words):
        convert(Gguf("auto", script(tmp_path, program)), merged, merged.with_name("inbox.gguf"))


@pytest.mark.parametrize(
    ("program", "words", "hint"),
    [
        ("import sys; print('much'); sys.exit('ERROR: X is not supported\\n')", "ERROR: X is not supported", "newer"),
        ("import nowhere_to_be_found", "No module named 'nowhere_to_be_found'", "install what it lacks"),
        ("import sys; sys.exit(3)", r"failed \(3\): it said nothing", "Without --gguf"),
    ],
)
def test_a_converter_that_fails_has_its_last_words_said(
    merged: Path, tmp_path: Path, program: str, words: str, hint: str
) -> None:
    with pytest.raises(ReconcilerError, match=words) as caught:
        convert(Gguf("auto", script(tmp_path, program)), merged, merged.with_name("inbox.gguf"))
    assert hint in caught.value.hint


def test_a_converter_is_found_by_its_file_its_directory_or_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = script(tmp_path, "")
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_converter(file) == find_converter(tmp_path) == file.resolve()
    with pytest.raises(UsageError, match="not on PATH") as caught:
        find_converter(None)
    assert "brew install llama.cpp" in caught.value.hint
    with pytest.raises(UsageError, match="There is no converter at"):
        find_converter(tmp_path / "other")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_converter(None) == file.resolve()


class Templated:
    """A tokenizer whose template frames turns as it is told to, and may put in a system message of its own."""

    chat_template = "as below"

    def __init__(self, turn: str, answer: str, *, own: str = "", begins: str = "", refuses: str = "") -> None:
        self.turn, self.answer, self.own, self.begins, self.refuses = turn, answer, own, begins, refuses

    def apply_chat_template(
        self, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool, **_: Any
    ) -> str:
        turns = list(messages)
        if any(turn["role"] == self.refuses for turn in turns):
            raise ValueError("no such role")
        if self.own and turns[0]["role"] != "system":
            turns.insert(0, {"role": "system", "content": self.own})
        text = "".join(self.turn.format(**turn) for turn in turns)
        return self.begins + text + (self.answer if add_generation_prompt else "")


CHATML = "<|im_start|>{role}\n{content}<|im_end|>\n"
ANSWER = "<|im_start|>assistant\n"
TOLD = (
    'TEMPLATE """{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n'
    '{{ end }}<|im_start|>assistant\n"""\n'
)


@pytest.mark.parametrize(
    ("tokenizer", "ends", "said"),
    [
        (Templated(CHATML, ANSWER), "<|im_end|>", TOLD),
        (Templated(CHATML, ANSWER, begins="<s>"), "<|im_end|>", TOLD),
        (Templated(CHATML, ANSWER, own="Be kind."), "<|im_end|>", f'{TOLD}SYSTEM """Be kind."""\n'),
        (Templated(CHATML, ANSWER), "<|endoftext|>", f'{TOLD}PARAMETER stop "<|im_end|>"\n'),
        (Templated(CHATML.replace("<|im_end|>", "</s>"), ANSWER), "</s>", TOLD.replace("<|im_end|>", "</s>")),
        (Templated("[{role}]{content}", "[assistant]"), "</s>", ""),
        (Templated(CHATML, ANSWER, refuses="system"), "<|im_end|>", ""),
    ],
)
def test_ollama_is_told_of_chatml_and_leaves_other_templates_to_itself(
    tokenizer: Templated, ends: str, said: str
) -> None:
    for begins in ("<s>", "<|im_start|>"):
        if tokenizer.begins in {"", begins}:
            text = modelfile("inbox.gguf", Dialogue(tokenizer, None, {}), begins=begins, ends=ends)
            assert text == f"FROM ./inbox.gguf\n{said}"
