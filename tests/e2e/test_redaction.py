"""A key reaches nothing that any command writes, whatever a server does with it."""

from __future__ import annotations

import base64
import json
import signal
import socketserver
import threading
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from everything import COMMANDS, Ended, Everything, everything
from program import OWNER, Repo, end
from screen import screen
from spiked import WAYS, Way

from reconciler.cli import overview

KEY = "sk-never/to+be=shown-7c21"
SPELLINGS = {
    KEY, json.dumps(KEY)[1:-1], KEY.replace("/", "\\/"), quote(KEY, safe=""), quote(KEY),
    *(base64.b64encode(f"{'x' * before}{KEY}".encode()).decode()[4:-4] for before in range(3)),
}  # fmt: skip
SAID = f"{KEY} {quote(KEY, safe='')} {base64.b64encode(f'user:{KEY}'.encode()).decode()}"


BROKEN = pytest.param("broken", "0", marks=pytest.mark.slow)
"""Every command waits before it tries again."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everything]:
    with pytest.MonkeyPatch.context() as patch, everything(tmp_path_factory.mktemp("redaction"), patch, KEY) as made:
        made.spike.text = SAID
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


@pytest.mark.parametrize(
    ("way", "debug"), [("plain", "1"), *((way, "0") for way in WAYS if way != "broken"), ("refuse", "1"), BROKEN]
)
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


@pytest.mark.parametrize(
    "arguments", [["events"], ["trace"], ["import"], ["pause"], ["plan", "--target"], ["plan", "--"]]
)
def test_a_key_on_the_command_line_is_not_echoed(world: Everything, arguments: list[str]) -> None:
    world.spike.way = "plain"
    server = [] if arguments == ["pause"] else ["--server", world.server.url]
    for ended in (
        world.call(*server_last(arguments, server), KEY),
        world.call(arguments[0], f"--{KEY}"),
        world.call(arguments[0], f"--x\x1b[2J\n::error::{KEY}"),
    ):
        assert ended.code in (1, 64), ended
        assert leaks(world, ended) == []
        assert "\x1b" not in ended.err
        assert "\n::" not in ended.err


def test_a_long_key_is_not_shown_in_pieces_on_a_narrow_terminal(world: Everything) -> None:
    key = "sk-proj-" + "0123456789abcdefghijklmnopqrstuvwxyz" * 5
    repo = Repo(world.repo.root, None, {"OPENAI_API_KEY": key})
    for arguments in (["validate", key], ["plan", "--server", key], ["pause", key], ["validate", f"--{key}"]):
        with screen(repo, *arguments, columns=60) as terminal:
            assert terminal.end() in (1, 64)
        assert "[key]" in terminal.text
        assert not [start for start in range(len(key) - 16) if key[start : start + 16] in terminal.text]


class Junk(socketserver.BaseRequestHandler):
    """Answers with what is no HTTP, and quotes what it was asked."""

    ways: Iterator[bytes]

    def handle(self) -> None:
        asked = self.request.recv(65_536).partition(b"Bearer ")[2].partition(b"\r\n")[0]
        self.request.sendall(next(self.ways).replace(b"KEY", asked))


@pytest.mark.slow  # it is tried again for a while
@pytest.mark.parametrize("debug", ["0", "1"])
def test_what_is_no_http_is_not_quoted(
    world: Everything, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, debug: str
) -> None:
    monkeypatch.setenv("RECONCILER_DEBUG", debug)
    length = b"HTTP/1.1 200 OK\r\nContent-Length: "
    ways = (
        b"KEY",
        b"",
        b"HTTP/1.1 KEY\r\n\r\n",
        length + b"KEY\r\n\r\n",
        length + b"999\r\n\r\nKEY",
        b"HTTP/1.1 200 OK\r\nKEY",
    )
    Junk.ways = cycle(ways)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Junk) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        elsewhere = Everything(Repo.make(tmp_path / "repo"), world.server, world.spike, "")
        ended = elsewhere.call("plan", "--debug", "--server", f"http://127.0.0.1:{server.server_address[1]}/v1")
        server.shutdown()
        thread.join()
    assert ended.code == 1
    assert ended.err.count("Trying again") == 5
    assert leaks(elsewhere, ended) == []


def server_last(arguments: list[str], server: list[str]) -> list[str]:
    return [arguments[0], *server, *arguments[1:]]


@pytest.mark.parametrize("place", ["flag", "RECONCILER_SERVER", "OPENAI_BASE_URL", "server", "key_env"])
@pytest.mark.parametrize(
    "wrong", [f"http://user:{quote(KEY, safe='')}@127.0.0.1/v1", f"user:{KEY}@host", f"http://127.0.0.1/v1?key={KEY}"]
)
def test_a_key_in_the_wrong_place_is_refused_without_being_said(
    world: Everything, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, wrong: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    flag = ["--server", wrong] if place == "flag" else []
    settings = f"owner: {OWNER}\n"
    if place == "server":
        settings += f"server: {json.dumps(wrong)}\n"
    elif place == "key_env":
        settings += f"servers: {{x: {{base_url: http://127.0.0.1/v1, key_env: {json.dumps(wrong)}}}}}\n"
    elif place != "flag":
        monkeypatch.setenv(place, wrong)
    elsewhere = Everything(Repo.make(tmp_path / "repo"), world.server, world.spike, "")
    elsewhere.repo.write("reconciler.yaml", settings)
    ended = elsewhere.call("plan", *flag)
    assert ended.code in (1, 64)
    assert not [s for s in SPELLINGS if s in ended.out + ended.err], ended


def test_a_download_that_holds_the_key_is_not_kept(world: Everything, tmp_path: Path) -> None:
    world.spike.way = "plain"
    rows = json.dumps({"messages": [{"role": "user", "content": KEY}]}) + "\n"
    file = world.server.http.post("/files", files={"file": ("x.jsonl", rows)}, data={"purpose": "fine-tune"}).json()
    body = {"model": "gpt-4.1-nano-2025-04-14", "training_file": file["id"]}
    job = world.server.http.post("/fine_tuning/jobs", json=body).raise_for_status().json()
    elsewhere = Everything(Repo.make(tmp_path / "repo"), world.server, world.spike, "")
    ended = elsewhere.call("import", job["id"], "--download", "--server", world.server.url)
    assert "its content holds the key" in ended.out
    assert leaks(elsewhere, ended) == []


def test_serve_shows_and_keeps_no_key(tmp_path: Path) -> None:
    repo = Repo.make(tmp_path / "repo", RECONCILER_API_KEY=KEY)
    process = repo.start("serve", "--port", "0", "--directory", "state")
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[1]
        for key in (KEY, f"wrong-{KEY}"):
            head = {"Authorization": f"Bearer {key}", "X-Request-Id": KEY}
            with httpx.Client(base_url=url, headers=head, trust_env=False) as http:
                http.get("/models")
                http.get(f"/fine_tuning/jobs/{quote(KEY, safe='')}")
    finally:
        done = end(process, signal.SIGINT)
    texts = [done.said.encode(), *(file.read_bytes() for file in (repo.root / "state").rglob("*") if file.is_file())]
    assert not [s for s in SPELLINGS for text in texts if s.encode() in text]


def test_the_cache_and_saved_plans_are_among_what_is_searched(world: Everything) -> None:
    world.spike.way = "plain"
    world.call("plan", "--out", "saved.plan", "--server", world.server.url)
    names = {file.name for file in Path(world.repo.root).rglob("*") if file.is_file()}
    assert {"saved.plan", "cache.db"} <= names
