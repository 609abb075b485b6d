from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from museum import OWNER, Cli, Museum, open_museum


@pytest.fixture
def museum() -> Iterator[Museum]:
    with open_museum() as museum:
        yield museum


@pytest.fixture
def cli(
    museum: Museum, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Cli]:
    for name in os.environ:
        if name.startswith(("OPENAI_", "RECONCILER_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-museum")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reconciler.yaml").write_text(f"owner: {OWNER}\n")
    yield Cli(tmp_path, museum, capsys)
    assert museum.writes == []  # an import, and a plan, change nothing
