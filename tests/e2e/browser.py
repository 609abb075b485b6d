"""A real browser on the dashboard of a real server, and a log of everything that a page must not do."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, expect, sync_playwright
from ports import kept_port
from program import chat, environment
from recording import PATIENCE

_NAMES = ("chromium-headless-shell", "chromium", "google-chrome")
_REPORT = """addEventListener("securitypolicyviolation", (e) => console.error(`violated: ${e.violatedDirective}`))"""
_UNREACHABLE = re.compile(r"net::ERR_|status of (401|502)")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser of this machine. Without one the test is skipped, but in CI it fails."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        words = "no Chromium on this machine: run scripts/install_browser.sh"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Seen:
    """A page with what it did wrong so far."""

    page: Page
    origin: str
    said: list[str] = field(default_factory=list)
    may_be_unreachable: bool = False

    @property
    def wrong(self) -> list[str]:
        return [each for each in self.said if not (self.may_be_unreachable and _UNREACHABLE.search(each))]

    def listen(self) -> None:
        self.page.add_init_script(_REPORT)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        self.page.on("dialog", self._alarmed)
        self.page.on("request", lambda request: self._asked(request.url))

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.said.append(f"{message.type}: {message.text} {message.location['url']}")

    def _alarmed(self, dialog: Dialog) -> None:
        self.said.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _asked(self, url: str) -> None:
        if not url.startswith(self.origin + "/"):
            self.said.append(f"request: {url}")

    def expect_unreachable(self) -> None:
        """Take nothing amiss that a browser says, now or later, of a server that was away or asked for a login."""
        self.may_be_unreachable = True

    def width(self) -> int:
        """Return the width that would have to be scrolled, in pixels."""
        scrolled: int = self.page.evaluate("document.documentElement.scrollWidth")
        return scrolled


@contextmanager
def looking(browser: Browser, url: str, *, width: int = 1440, height: int = 900, dark: bool = False) -> Iterator[Seen]:
    """Open a window of its own, and insist at the end that nothing went wrong in it."""
    scheme: Any = "dark" if dark else "light"
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, locale="en-GB")
    context.set_default_timeout(1000 * PATIENCE)
    expect.set_options(timeout=1000 * PATIENCE)
    parts = urlsplit(url)
    seen = Seen(context.new_page(), f"{parts.scheme}://{parts.netloc}")
    seen.listen()
    try:
        seen.page.goto(url)
        yield seen
    except BaseException as error:
        error.add_note(f"What the page did wrong until then: {seen.wrong}\n{seen.page.locator('body').inner_text()}")
        raise
    finally:
        context.close()
    assert seen.wrong == [], seen.wrong


@dataclass
class Served:
    """A server with its dashboard, in a process of its own."""

    directory: Path
    port: int
    arguments: tuple[str, ...] = ()
    key: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    said: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/ui/"

    @property
    def http(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        url = f"http://127.0.0.1:{self.port}/v1"
        return httpx.Client(base_url=url, headers=headers, timeout=PATIENCE, trust_env=False)

    def start(self) -> None:
        command = [sys.executable, "-m", "reconciler", "serve", "--ui", "--directory", str(self.directory)]
        env = environment(**self.env, **({"RECONCILER_API_KEY": self.key} if self.key else {}))
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port), *self.arguments], env=env, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline() + self.process.stdout.readline()
        assert f":{self.port}/ui/" in self.said

    def stop(self, timeout: float = PATIENCE) -> int:
        assert self.process is not None
        process, self.process = self.process, None
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=timeout)
        self.said += rest
        return process.returncode

    def job(self, name: str = "triage", rows: int = 40, **more: Any) -> str:
        """Start a job, and return its id."""
        with self.http as http:
            data = b"".join(json.dumps(row).encode() + b"\n" for row in chat(rows))
            file = http.post("/files", data={"purpose": "fine-tune"}, files={"file": ("rows.jsonl", data)}).json()["id"]
            labels = {"reconciler.owner": "us", "reconciler.name": name, "reconciler.revision": "0123456789abcdef.1"}
            body = {"model": "gpt-4.1-nano", "training_file": file, "validation_file": file, "metadata": labels, **more}
            answer = http.post("/fine_tuning/jobs", json=body)
            assert answer.status_code == 200, answer.text
            return str(answer.json()["id"])


@contextmanager
def serving(directory: Path, *arguments: str, key: str | None = None, **env: str) -> Iterator[Served]:
    """Serve a directory until the block ends."""
    with kept_port() as port:
        served = Served(directory, port, arguments, key, env)
        served.start()
        try:
            yield served
        finally:
            if served.process is not None:
                served.stop()
