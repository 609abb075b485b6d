"""People who are elsewhere are told once, by real apprise, and whatever becomes of that, the watch goes on."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ports import kept_port
from program import LONG, ROOT, Repo
from recording import PATIENCE, Recording, recording, within
from test_watch import Watching, watching

from reconciler.cli.main import run

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")
PASSWORD, TOKEN = "pass-word-never-shown", "tokenNever5hown"  # parts of a URL


@dataclass
class Inbox:
    """Takes what is sent to it, as ``title: body`` of each; ``status`` is what it answers."""

    port: int
    mails: list[str] = field(default_factory=list)
    status: int = 200
    asked: int = 0

    @property
    def url(self) -> str:
        return f"json://me:{PASSWORD}@127.0.0.1:{self.port}/{TOKEN}"

    @property
    def titles(self) -> list[str]:
        return sorted(mail.partition("|")[0] for mail in self.mails)

    def until(self, *titles: str) -> None:
        with contextlib.suppress(AssertionError):
            within(PATIENCE, lambda: len(self.mails) >= len(titles))
        assert self.titles == sorted(titles)


@contextlib.contextmanager
def inbox() -> Iterator[Inbox]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.asked += 1
            if made.status == 200:
                made.mails.append(f"{message['title']}|{message['message']}")
            self.send_response(made.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Inbox(server.server_port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield made
        finally:
            server.shutdown()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Recording]:
    with recording(tmp_path / "server", speed=20.0) as server:
        yield server


@pytest.fixture
def post() -> Iterator[Inbox]:
    with inbox() as made:
        yield made


@pytest.fixture
def make(tmp_path: Path, server: Recording) -> Callable[..., Repo]:
    def repo(urls: str, settings: str = "") -> Repo:
        return Repo.make(tmp_path / "repo", server.url, settings, RECONCILER_NOTIFY=urls)

    return repo


@pytest.mark.slow
def test_each_thing_is_told_once_over_restarts(make: Callable[..., Repo], server: Recording, post: Inbox) -> None:
    repo = make(post.url, 'notifications: {failed: {title: "{spec}: {event}", body: "{reason} {job}"}}\n')
    repo.spec("old")
    repo.apply()
    server.until("old", "succeeded")
    repo.spec("a")
    repo.spec("bad", model="simulated-fail")
    told = ["a succeeded", "bad: failed"]
    with watching(repo, "--auto-approve") as watch:
        post.until(*told)
        watch.until("bad is blocked")
        check(watch)
    job = server.by_name("bad")[0]
    assert f"bad: failed|{job['error']['message']} {job['id']}" in post.mails
    assert any(f"a succeeded|{server.by_name('a')[0]['fine_tuned_model']}\n" in mail for mail in post.mails)
    repo.spec("late")
    repo.apply(code=None)
    server.until("late", "succeeded")
    with watching(repo) as watch:
        post.until(*told, "late succeeded")
        repo.spec("next")
        post.until(*told, "late succeeded", "New runs wait for approval: next")
        check(watch)
    with watching(repo) as watch:
        watch.until("wait for approval")
        time.sleep(3)
        check(watch)
    assert len(post.mails) == 4


def check(watch: Watching) -> None:
    """End a watch, and find no part of a URL in what it said or kept."""
    result = watch.end()
    assert result.code == 0
    for file in watch.repo.root.rglob("*"):
        assert not file.is_file() or not any(s.encode() in file.read_bytes() for s in (PASSWORD, TOKEN)), file


@pytest.mark.slow
@pytest.mark.parametrize(("level", "then"), [("--observe", "drift: a"), ("--heal", "resumed a")])
def test_drift_is_told_and_what_nobody_asked_for_is_not(
    make: Callable[..., Repo], server: Recording, post: Inbox, level: str, then: str
) -> None:
    repo = make(post.url)
    repo.spec("a", **LONG)
    repo.apply()
    server.until("a", "running")
    with watching(repo, level, "--notify", "drift,failed") as watch:
        watch.until("1 jobs are ours")
        repo.spec("b")
        repo.apply()
        watch.until("b: succeeded")
        job = server.by_name("a")[0]["id"]
        server.http.post(f"/fine_tuning/jobs/{job}/pause").raise_for_status()
        watch.until(then)
        post.until("a has drifted")
        check(watch)
    with watching(repo, level) as watch:
        watch.until("2 jobs are ours")
        time.sleep(2.5)
        check(watch)
    assert post.titles.count("a has drifted") == 1
    assert "b succeeded" not in post.titles


def test_a_digest_is_one_message_and_is_sent_at_the_end(
    make: Callable[..., Repo], server: Recording, post: Inbox
) -> None:
    repo = make(post.url)
    repo.spec("a")
    repo.spec("bad", model="simulated-fail")
    with watching(repo, "--auto-approve", "--notify-digest", "1h") as watch:
        server.until("a", "succeeded")
        server.until("bad", "failed")
        watch.until("bad is blocked")
        watch.until("a: succeeded")
        assert post.mails == []
        check(watch)
    post.until("1 succeeded, 1 failed")
    assert post.mails[0].count("\n") == 1


@pytest.mark.slow
def test_addresses_that_take_nothing_hold_up_nothing(make: Callable[..., Repo], server: Recording, post: Inbox) -> None:
    post.status = 500
    with socket.create_server(("127.0.0.1", 0)) as silent, kept_port() as dead:
        repo = make(f"json://127.0.0.1:{dead}/{TOKEN}, json://127.0.0.1:{silent.getsockname()[1]}/{TOKEN}\n{post.url}")
        repo.spec("a")
        with watching(repo, "--auto-approve", form="json") as watch:
            watch.until("URL 1 of 3")
            watch.until("URL 3 of 3")
            repo.spec("b")
            server.until("b", "succeeded")
            post.status = 200
            watch.until("Notifications arrive again (URL 3 of 3, JSON).")
            post.until("a succeeded", "b succeeded")
            assert watch.text.count("do not arrive (URL 3") == watch.text.count("do not arrive (URL 1") == 1
            assert TOKEN not in watch.text
            check(watch)


@pytest.mark.parametrize(
    ("urls", "arguments", "words"),
    [
        ("", ["--notify", "failed"], "RECONCILER_NOTIFY is not set"),
        ("x", ["--notify", "failed,paused"], "'paused' is none; there are succeeded"),
        ("x", ["--notify-digest", "soon"], "such as 30s, 15m or 1h"),
        (f"json://127.0.0.1 slaack://{TOKEN}/x", [], "URL 2 of 2 is none that apprise can send to"),
    ],
)
@pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")
def test_what_cannot_be_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    urls: str,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(Repo.make(tmp_path / "repo").root)
    monkeypatch.setenv("RECONCILER_NOTIFY", urls)
    assert run(["watch", "--looks", "1", "--server", "local", *arguments]) == 64
    said = "".join(capsys.readouterr())
    assert words in said
    assert TOKEN not in said


def test_without_the_extra_the_command_that_installs_it_is_named(tmp_path: Path, server: Recording) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without/apprise.py").write_text("raise ImportError")
    path = f"{tmp_path / 'without'}{os.pathsep}{ROOT}"
    repo = Repo.make(tmp_path / "repo", server.url, RECONCILER_NOTIFY="json://127.0.0.1", PYTHONPATH=path)
    result = repo.run("watch", "--looks", "1", code=1)
    assert "pip install 'finetune-reconciler[notify]'" in result.err


@pytest.mark.slow
@pytest.mark.skipif(os.uname().sysname != "Linux", reason="notify-send is Linux's")
def test_the_desktop_is_notified(tmp_path: Path, server: Recording) -> None:
    shown = tmp_path / "shown"
    program = tmp_path / "bin/notify-send"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {shown}\n')
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    settings = 'notifications: {succeeded: {title: "-{spec}", body: "<b>{spec}</b>"}}\n'
    repo = Repo.make(tmp_path / "repo", server.url, settings, RECONCILER_NOTIFY="desktop", PATH=path)
    repo.spec("a")
    with watching(repo, "--auto-approve"):
        within(PATIENCE, lambda: shown.exists() and shown.read_text().endswith("--\n-a\n&lt;b&gt;a&lt;/b&gt;\n"))
