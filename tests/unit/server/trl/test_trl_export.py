"""What is exported: found by any of its names, with a card that says where it comes from."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from serving import Serve, create, retrieve, upload, wait

from reconciler.cli.main import run
from reconciler.errors import UsageError
from reconciler.server.trainers.trl import shelf
from reconciler.server.trainers.trl.card import Provenance, card
from reconciler.server.trainers.trl.export import Wish, export, find, gguf_name, held
from reconciler.server.trainers.trl.faults import failure_of
from reconciler.server.trainers.trl.gguf import SCRIPT
from reconciler.server.trainers.trl.shelf import Shelf

KEY = "reconciler.name"
FACTS: dict[str, Any] = {
    "base": "m", "source": "acme/m@1", "licence": "MIT", "started_from": "m", "method": "supervised", "seed": 3,
    "hyperparameters": {"n_epochs": 4}, "training_sha256": "a" * 64, "validation_sha256": None,
    "entry": {"hub": "acme/m", "revision": "1"},
}  # fmt: skip
PAIRS = {KEY: "triage", "reconciler.owner": "acme/x", "reconciler.revision": "0123456789abcdef.1", "odd": "a|`b"}


@pytest.fixture
def made(serve: Serve, tmp_path: Path) -> str:
    return make(serve, tmp_path)


def make(serve: Serve, tmp_path: Path, **pairs: str) -> str:
    """Run a job to its end, and put weights on the shelf as if it had made them."""
    client = serve(tmp_path)
    job = create(client, upload(client), metadata=PAIRS | pairs, seed=3)
    wait(lambda: retrieve(client, job["id"])["status"] == "succeeded")
    job = retrieve(client, job["id"])
    model = str(job["fine_tuned_model"])
    checkpoints = client.get(f"fine_tuning/jobs/{job['id']}/checkpoints").json()["data"]
    facts = FACTS | {"job": job["id"]}
    weights = tmp_path / "checkpoint"
    weights.mkdir(exist_ok=True)
    (weights / "adapter_config.json").write_text("{}")
    place = Shelf(tmp_path / "models").place(model)
    shelf.publish(weights, place, checkpoints[0]["step_number"], facts)
    shelf.finish(place, checkpoints[0]["step_number"])
    return model


def test_a_model_is_found_by_its_name_and_by_its_specs(made: str, tmp_path: Path) -> None:
    assert find(tmp_path, made, KEY).made == find(tmp_path, "triage", KEY).made


def test_a_spec_of_several_owners_is_no_name_of_a_model(serve: Serve, made: str, tmp_path: Path) -> None:
    other = make(serve, tmp_path, **{"reconciler.owner": "acme/x/production"})
    with pytest.raises(UsageError, match="Several owners have a spec 'triage'") as caught:
        find(tmp_path, "triage", KEY)
    assert caught.value.hint == f"Name the model: {made} of acme/x, {other} of acme/x/production."
    assert find(tmp_path, other, KEY).made.name == other


def test_the_card_says_where_a_model_comes_from(made: str, tmp_path: Path) -> None:
    what = find(tmp_path, made, KEY)
    text = card(what, commit="c" * 40, parts="All is here.")
    for fact in (made, what.job.id, "triage", "acme/x", "0123456789abcdef.1", "c" * 40, "a" * 64, "n_epochs 4"):
        assert f"`{fact}`" in text or f" {fact}`" in text, fact
    assert 'license: "mit"' in text
    assert f"| `train_loss` | `{what.metrics['train_loss']}` |" in text


def test_nothing_in_a_card_is_markup(made: str, tmp_path: Path) -> None:
    what = find(tmp_path, made, KEY)
    odd = Provenance(what.made, what.job, {"training_file": "a|b`c\n<script>", "validation_file": ""}, {})
    assert "`a\\|b'c <script>, sha256" in card(odd, commit=None, parts="")


@pytest.mark.parametrize("name", ["nobody", "ft:m:local::nobody", "ft:m:local::x:ckpt-step-3"])
def test_what_is_not_there_is_said(made: str, tmp_path: Path, name: str) -> None:
    assert made != name
    with pytest.raises(UsageError, match=r"nobody|weights"):
        find(tmp_path, name, KEY)


def test_a_directory_that_no_server_keeps_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no directory of a server"):
        find(tmp_path, "triage", KEY)


def test_nothing_is_written_over(made: str, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "mine").write_text(json.dumps({}))
    with pytest.raises(UsageError, match="is not empty"):
        export(tmp_path, find(tmp_path, made, KEY), target, Wish(), print)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), MemoryError(), ValueError("odd")])
def test_an_export_that_fails_advises_nobody_to_train_again(error: Exception) -> None:
    words = str(failure_of(error, "exporting"))
    assert "job" not in words
    assert "training" not in words
    assert "messages" not in words


@pytest.mark.skipif(sys.platform == "win32", reason="has no flock")
def test_two_exports_into_one_directory_do_not_mix(made: str, tmp_path: Path) -> None:
    what, target = find(tmp_path, made, KEY), tmp_path / "out"
    with held(target), pytest.raises(UsageError, match="Another export writes") as caught:
        export(tmp_path, what, target, Wish(), print)
    assert caught.value.hint
    assert not list(tmp_path.glob("out*"))


def test_what_a_killed_export_left_is_not_mixed_in(tmp_path: Path) -> None:
    target = tmp_path / "out"
    left = tmp_path / "out.part" / "merged" / "old.safetensors"
    left.parent.mkdir(parents=True)
    left.write_text("")
    with held(target) as part:
        assert not list(part.iterdir())


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("triage", "triage.gguf"),
        ("a.b-c", "a.b-c.gguf"),
        ("../up", None),
        ("", None),
        ("{ftype}", None),
    ],
)
def test_a_gguf_file_goes_by_its_spec_where_that_is_a_name(
    made: str, tmp_path: Path, spec: str, name: str | None
) -> None:
    what = find(tmp_path, made, KEY)
    what.job.document["metadata"] = {KEY: spec}
    assert gguf_name(what) == name or (name is None and gguf_name(what).startswith("ft-"))


def test_gguf_without_its_converter_is_refused_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("RECONCILER_GGUF_CONVERTER", raising=False)
    assert run(["models", "export", "x", "--to", str(tmp_path / "out"), "--gguf", "f16"]) == 64
    assert f"--gguf needs llama.cpp's {SCRIPT}" in capsys.readouterr().err
