"""A terminal of 80 columns, with a command in it and somebody at the keyboard."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from typing import Any

import psutil
from program import KEY, Repo
from recording import PATIENCE, within

CTRL_C = "\x03"
_IN_A_TERMINAL = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.SIG_DFL)  # who runs the tests in the background has it ignored
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class Screen:
    """What a command has shown so far, and its keyboard. ``before`` is how the terminal was set when it began."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: int, before: list[Any]) -> None:
        self._process = process
        self._terminal = terminal
        self.before = before
        self.text = ""

    def type(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def until(self, words: str, seconds: float = PATIENCE) -> None:
        """Read until some words have been shown."""
        deadline = time.monotonic() + seconds
        while words not in self.text:
            there_is_more = self._read() and time.monotonic() < deadline
            assert there_is_more, f"{words!r} is not shown:\n{self.text}"

    def until_it_waits(self) -> None:
        """Wait until the command does nothing any more: it has asked, and reads what is typed.

        Between the two Python takes note of a Ctrl-C, but acts on it only with the next key.
        """
        within(PATIENCE, lambda: psutil.Process(self._process.pid).status() == psutil.STATUS_SLEEPING)

    def look(self) -> None:
        """Read what has been shown meanwhile."""
        self._read()

    def settings(self) -> list[Any]:
        """Return how the terminal is set, as termios says it."""
        return termios.tcgetattr(self._terminal)

    def end(self, seconds: float = PATIENCE) -> int:
        """Read to the end; return the exit code."""
        deadline = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < deadline, self.text
        code = self._process.wait(timeout=PATIENCE)
        assert "Traceback" not in self.text, self.text
        assert KEY not in self.text
        return code

    def _read(self) -> bool:
        """Read what is there; False once the command has ended."""
        if not select.select([self._terminal], [], [], 0.2)[0]:
            return True
        try:
            data = os.read(self._terminal, 65_536)
        except OSError:  # how Linux says that nobody holds the other side any more
            return False
        self.text += data.decode(errors="replace")
        return bool(data)


@contextlib.contextmanager
def screen(repo: Repo, *arguments: str, columns: int = 80) -> Iterator[Screen]:
    """Run a command in a terminal; it is killed if the block leaves it running."""
    terminal, inside = os.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    before = termios.tcgetattr(terminal)
    process = subprocess.Popen(
        [sys.executable, "-c", _IN_A_TERMINAL, *repo.command(*arguments)[1:]],
        cwd=repo.root, env=repo.environment(), start_new_session=True,
        stdin=inside, stdout=inside, stderr=inside,
    )  # fmt: skip
    os.close(inside)
    try:
        yield Screen(process, terminal, before)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(terminal)
