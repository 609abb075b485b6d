"""The dashboard of ``reconciler watch`` in a real terminal: what it shows, what keys do, and what it leaves behind."""

from __future__ import annotations

import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from program import LONG, Repo
from recording import PATIENCE, Recording, recording, within

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals here", allow_module_level=True)

from screen import CTRL_C, Screen, screen

pytest.importorskip("textual")
pyte = pytest.importorskip("pyte")

MEDIUM: dict[str, Any] = {
    "model": "simulated-slow",
    "training_file": "data/train.jsonl",
    "hyperparameters": {"n_epochs": 4},
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Recording]:
    with recording(tmp_path / "server") as server:
        yield server


@pytest.fixture
def repo(tmp_path: Path, server: Recording) -> Repo:
    return Repo.make(tmp_path / "repo", server.url, settings="policy: {prices: {'*': 1000}}\n")


class Picture:
    """What stands on a screen now."""

    def __init__(self, terminal: Screen, columns: int = 80) -> None:
        self._terminal, self._fed = terminal, 0
        self._screen = pyte.Screen(columns, 24)
        self._stream = pyte.Stream(self._screen)

    def __str__(self) -> str:
        self._terminal.look()
        self._stream.feed(self._terminal.text[self._fed :])
        self._fed = len(self._terminal.text)
        return "\n".join(self._screen.display)

    def until(self, *words: str) -> None:
        """Wait until all words stand on the screen together."""

        def all_there() -> bool:
            shown = str(self)
            return all(word in shown for word in words)

        try:
            within(PATIENCE, all_there)
        except AssertionError:
            raise AssertionError(f"{words} are not shown:\n{self}") from None


@pytest.mark.slow
def test_a_run_is_approved_and_followed_to_its_end(repo: Repo, server: Recording) -> None:
    repo.spec("first", **MEDIUM)
    with screen(repo, "watch", "--interval", "2", columns=120) as terminal:
        shown = Picture(terminal, 120)
        shown.until("first", "? to approve", "1 new run waits for approval, about")
        assert server.changes == []
        terminal.type("a")
        shown.until("Start 1 new run?", "Estimated cost", "y start")
        assert server.changes == []
        terminal.type("y")
        shown.until("● running", "/48", "created first")
        server.release()
        shown.until("✓ succeeded")
        terminal.type("q")
        assert terminal.end() == 0
    assert server.statuses("first") == ["succeeded"]


@pytest.mark.slow
def test_keys_edit_specs_and_the_watch_follows(repo: Repo, server: Recording) -> None:
    repo.spec("long", **LONG)
    repo.apply()
    server.until("long", "running")
    file = repo.root / "specs/long.yaml"
    before = file.read_text()
    with screen(repo, "watch", "--interval", "2") as terminal:
        shown = Picture(terminal)
        shown.until("● running")
        terminal.type("p")
        shown.until("Set long to paused?", "+++ b/specs/long.yaml")
        terminal.type("\x1b")
        shown.until("● running", "last look")
        assert file.read_text() == before
        terminal.type("p")
        shown.until("y write it")
        terminal.type("y")
        shown.until("‖ paused")
        assert server.statuses("long") == ["paused"]
        terminal.type("r")
        shown.until("y write it")
        terminal.type("y")
        shown.until("● running")
        terminal.type("\r")
        shown.until("Step ", "train", "revision")
        terminal.type("q")
        shown.until("last look")
        terminal.type(CTRL_C)
        assert terminal.end() == 0


@pytest.mark.parametrize("key", ["q", CTRL_C])
def test_the_terminal_is_as_it_was_afterwards(repo: Repo, key: str) -> None:
    repo.spec("a", state="paused")
    with screen(repo, "watch") as terminal:
        shown = Picture(terminal)
        shown.until("last look")
        assert terminal.before[3] & termios.ECHO
        assert not terminal.settings()[3] & termios.ECHO
        terminal.type(key)
        assert terminal.end() == 0
        assert terminal.settings() == terminal.before
    for mode in ("1049", "25h", "1000l", "1006l", "2004l"):
        assert mode in terminal.text
    assert terminal.text.rindex("\x1b[?1049l") > terminal.text.rindex("\x1b[?1049h")
    assert terminal.text.rindex("\x1b[?25h") > terminal.text.rindex("\x1b[?25l")
    assert "Ended. The jobs go on" in terminal.text[terminal.text.rindex("\x1b[?1049l") :]


def test_without_colour_there_is_none(repo: Repo) -> None:
    repo.spec("a", state="paused")
    with screen(Repo(repo.root, repo.server, {"NO_COLOR": "1"}), "watch") as terminal:
        shown = Picture(terminal)
        shown.until("on hold", "last look")
        terminal.type("q")
        assert terminal.end() == 0
    codes = {code for part in terminal.text.split("\x1b[")[1:] if "m" in part for code in part.split("m")[0].split(";")}
    assert not codes & {*map(str, range(30, 38)), "38", *map(str, range(40, 48)), "48", *map(str, range(90, 98))}


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["--no-dashboard"], {}, "Watching"),
        ([], {"TERM": "dumb"}, "Watching"),
        (["--log-format", "json"], {}, '"message":'),
        (["--verbose"], {}, "Watching"),
    ],
)
def test_lines_are_written_where_there_is_no_dashboard(
    repo: Repo, arguments: list[str], environment: dict[str, str], words: str
) -> None:
    with screen(Repo(repo.root, repo.server, environment), "watch", "--looks", "1", *arguments) as terminal:
        assert terminal.end() == 0
    assert words in terminal.text
    assert "\x1b[?1049h" not in terminal.text


def test_a_dashboard_that_cannot_be_shown_is_refused_in_words(repo: Repo) -> None:
    assert "no terminal" in repo.run("watch", "--dashboard", "--looks", "1", code=64).err


@pytest.mark.slow
def test_what_ends_a_watch_ends_its_dashboard(repo: Repo) -> None:
    with screen(repo, "watch", "--looks", "1") as terminal:
        assert terminal.end() == 0
    with screen(Repo(repo.root, "http://127.0.0.1:1/v1"), "watch") as terminal:
        shown = Picture(terminal)
        shown.until("Going on trying", "errors 1")
        terminal.type("q")
        assert terminal.end() == 0


def test_a_watch_that_cannot_begin_says_why_on_a_terminal_in_order(tmp_path: Path) -> None:
    with recording(tmp_path / "keyed", key="k-1") as keyed:
        repo = Repo.make(tmp_path / "repo2", keyed.url, OPENAI_API_KEY="k-2")
        with screen(repo, "watch") as terminal:
            assert terminal.end() == 1
    left = terminal.text.rindex("\x1b[?1049l")
    assert "key" in terminal.text[left:]
