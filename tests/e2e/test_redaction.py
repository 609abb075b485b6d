"""A key reaches nothing that any command writes, whatever a server does with it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from everything import COMMANDS, Ended, Everything, everything
from spiked import WAYS, Way

from reconciler.cli import overview

KEY = "sk-never/to+be=shown-7c21"
SPELLINGS = {
    KEY, json.dumps(KEY)[1:-1], KEY.replace("/", "\\/"), quote(KEY, safe=""), quote(KEY),
    base64.b64encode(KEY.encode()).decode(), base64.b64encode(f":{KEY}".encode()).decode(),
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everything]:
    with pytest.MonkeyPatch.context() as patch, everything(tmp_path_factory.mktemp("redaction"), patch, KEY) as made:
        made.spike.text = KEY
        yield made


def leaks(world: Everything, ended: Ended) -> list[str]:
    """Say where the key stands: in what a call printed, or in a file."""
    found = [f"{ended.call}: {what}" for what in (ended.out, ended.err) if any(s in what for s in SPELLINGS)]
    needles = [s.encode() for s in SPELLINGS]
    files = (file for file in world.repo.root.rglob("*") if file.is_file())
    found += [f"{ended.call}: {file}" for file in files if any(needle in file.read_bytes() for needle in needles)]
    return found


def test_every_command_is_tried() -> None:
    assert set(COMMANDS) == set(overview.COMMANDS), "give the new command a row in everything.py"


@pytest.mark.parametrize(("way", "debug"), [("plain", "1"), *((way, "0") for way in WAYS), ("refuse", "1")])
def test_a_key_is_nowhere(world: Everything, monkeypatch: pytest.MonkeyPatch, way: Way, debug: str) -> None:
    monkeypatch.setenv("RECONCILER_DEBUG", debug)
    world.spike.way = way
    found = [leak for ended in world.calls() for leak in leaks(world, ended)]
    assert found == []


@pytest.mark.parametrize("bad", [f"{KEY}\n", f" {KEY}", f"{KEY}\u00e9", f'"{KEY}"'])
def test_a_key_that_no_header_takes_is_not_echoed(world: Everything, monkeypatch: pytest.MonkeyPatch, bad: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", bad)
    world.spike.way = "plain"
    found = [leak for ended in world.calls("plan", "status", "apply") for leak in leaks(world, ended)]
    assert found == []


def test_a_key_in_an_address_is_not_echoed(world: Everything) -> None:
    for url in (f"http://user:{KEY}@127.0.0.1:9/v1", f"http://127.0.0.1:9/v1?api-key={KEY}"):
        ended = world.call("plan", "--server", url)
        assert ended.code == 64
        assert leaks(world, ended) == []


def test_a_fault_of_the_program_does_not_show_the_key(world: Everything, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"Illegal header value b'Bearer {KEY}'")

    monkeypatch.setattr("reconciler.cli.session.observe", broken)
    monkeypatch.setattr("reconciler.loop.observe", broken)
    for debug in ("0", "1"):
        monkeypatch.setenv("RECONCILER_DEBUG", debug)
        ended = world.call("plan", "--server", world.server.url)
        assert "RuntimeError" in ended.err
        assert leaks(world, ended) == []


def test_the_cache_and_saved_plans_are_among_what_is_searched(world: Everything) -> None:
    world.spike.way = "plain"
    world.call("plan", "--out", "saved.plan", "--server", world.server.url)
    names = {file.name for file in Path(world.repo.root).rglob("*") if file.is_file()}
    assert {"saved.plan", "cache.db"} <= names
