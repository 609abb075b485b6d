"""Loading bases: what cannot be loaded is told from what may be loaded later."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hub import Hub
from tiny import needs_engine, tiny_model

from reconciler.server.trainers.trl.catalogue import Entry
from reconciler.server.trainers.trl.faults import Failure, failure_of

pytestmark = [pytest.mark.slow, needs_engine]
COMMIT = "0" * 40
STRANGE = json.dumps({"model_type": "strange"})


def load(entry: Entry, cache: Path) -> None:
    """Load as training does: the tokenizer, then the base."""
    from reconciler.server.trainers.trl.weights import load_base, load_tokenizer  # noqa: PLC0415 - loads torch

    load_tokenizer(entry, cache)
    load_base(entry, cache)


def refused(entry: Entry, cache: Path) -> Failure:
    with pytest.raises(Failure) as caught:
        load(entry, cache)
    assert (caught.value.code, caught.value.param) == ("model_not_available", "model")
    return caught.value


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "weights cannot be loaded: there is no config.json in "),
        ({"config.json": STRANGE}, "weights cannot be loaded: "),
        ({"tokenizer.json": "no"}, "weights cannot be loaded: "),
        ({"model.safetensors": "no weights"}, "weights cannot be loaded: "),
    ],
)
def test_a_directory_that_holds_no_model_is_a_fault_of_the_catalogue(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, files: dict[str, str], words: str
) -> None:
    place = tmp_path / "weights"
    place.mkdir()
    for file in tiny_model(tmp_path_factory).iterdir() if files else ():
        (place / file.name).write_bytes(file.read_bytes())
    for name, text in files.items():
        (place / name).write_text(text)
    assert refused(Entry(path=str(place)), tmp_path).message.startswith(words)


@pytest.mark.parametrize("name", ["notes.txt", "broken.gguf"])
def test_a_file_that_is_no_model_is_a_fault_of_the_catalogue(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("no model")
    assert refused(Entry(path=str(tmp_path / name)), tmp_path / "bases").message.startswith(f"{name} cannot be loaded")


@pytest.mark.parametrize("what", ["acme/nothing", "acme/small", "gated"])
def test_a_model_that_the_hub_does_not_show_is_a_fault_of_the_catalogue(
    stand: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    stand.make("acme/small")
    name = "acme/small" if what == "gated" else what
    if what == "gated":
        monkeypatch.setattr(stand, "answer", lambda *_: (403, {"X-Error-Code": "GatedRepo"}, b""))
    error = refused(Entry(hub=name, revision=COMMIT), tmp_path)
    assert error.message.startswith(f"{name}@{COMMIT} cannot be loaded: the hub does not show it")
    assert "HF_TOKEN" in error.message


def test_a_directory_of_a_hubs_name_is_not_taken_for_the_hubs_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "tiny").symlink_to(tiny_model(tmp_path_factory), target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    assert "acme/tiny" in refused(Entry(hub="acme/tiny", revision=COMMIT), tmp_path).message


def test_a_hub_that_fails_may_answer_later(stand: Hub, tmp_path: Path) -> None:
    stand.fault = lambda _method, _path: 503
    with pytest.raises(OSError, match="connect") as caught:
        load(Entry(hub="acme/small", revision=COMMIT), tmp_path)
    assert failure_of(caught.value).code == "server_error"
