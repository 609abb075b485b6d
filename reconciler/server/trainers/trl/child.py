"""A subprocess of the server that does heavy work: it is told things on its standard input, and tells on its output.

It ends by itself when its input does, so that nothing outlives a server that is killed.
"""

from __future__ import annotations

import contextlib
import gc
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from reconciler.server.trainers.trl import oom
from reconciler.server.trainers.trl.faults import said

KILLED = -9
"""The code of a process that SIGKILL ended; Windows knows no such signal."""
_LOG_BYTES = 20_000
_SCRATCH = "reconciler-child-"


class Child:
    """A running subprocess: ``python -m module arguments``. ``launcher`` are words that stand before Python.

    What it prints to its standard error goes to the file ``log``, which is begun anew. It has a directory for temporary
    files of its own, which goes with it: libraries leave some behind in a process that ends in a hurry, or is killed.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str],
        launcher: Sequence[str] = (),
    ) -> None:
        self._log = log
        self._oom_kills = oom.kills()
        self._starved: bool | None = False
        self._scratch = tempfile.mkdtemp(prefix=_SCRATCH)
        about = {"PYTHONUNBUFFERED": "1", **environment, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), self._scratch)}
        try:
            with log.open("wb") as errors:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    [*launcher, sys.executable, "-m", module, *arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env={**os.environ, **about},
                    start_new_session=True,
                )
        except BaseException:
            shutil.rmtree(self._scratch, ignore_errors=True)
            raise
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        assert self._process.stdout is not None  # noqa: S101 - it is piped
        threading.Thread(target=self._pump, args=(self._process.stdout,), daemon=True).start()

    def _pump(self, output: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):  # closed by whoever ends it
            for line in output:
                self._lines.put(line)
        self._lines.put(None)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def tell(self, line: str) -> None:
        """Write a line to it; one that has ended does not hear it."""
        assert self._process.stdin is not None  # noqa: S101
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError):  # a pipe that is broken, or closed
            return

    def hear(self, seconds: float) -> bytes | None:
        """Return its next line; empty where none came in time, None once it has ended."""
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            return b""
        if line is None:
            self._lines.put(None)
        return line

    def end(self, patience: float = 0) -> int:
        """End it, unless it ends by itself within ``patience`` seconds; return its exit code, negative for a signal."""
        try:
            code = self._process.wait(patience)
            if code == KILLED:
                self._starved = oom.kills() > self._oom_kills or None
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        shutil.rmtree(self._scratch, ignore_errors=True)
        return code

    def starved(self) -> bool | None:
        """Once it has ended: whether memory ran out; None where others killed it, and nobody says why."""
        return self._starved

    def leave(self) -> bool:
        """It ends with the server: its input does."""
        return False

    def last_words(self) -> str:
        """Return the last line that it printed to its standard error, cut, and without any key."""
        try:
            lines = self._log.read_bytes()[-_LOG_BYTES:].decode(errors="replace").split("\n")
        except OSError:
            return ""
        return next((said(line, 200) for line in reversed(lines) if line.strip()), "")


class Parent:
    """The other side: for the subprocess itself. Made first of all, so that nothing else prints to the pipe."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
        self._lock = threading.Lock()
        os.dup2(2, 1)
        sys.stdout = sys.stderr

    def tell(self, line: str) -> None:
        """Write a line to the server. Where it is gone, end."""
        try:
            with self._lock:
                self._out.write(line + "\n")
        except OSError:
            os._exit(1)

    def listen(self, heard: Callable[[str], None]) -> None:
        """Take lines in a thread; the end of them, which is the server's, ends the process at once."""

        def read() -> None:
            for line in sys.stdin:
                heard(line)
            forget_scratch()
            os._exit(1)

        threading.Thread(target=read, daemon=True).start()


def forget_scratch() -> None:
    """Remove this subprocess's directory for temporary files, where nobody is there any more to do it."""
    scratch = Path(tempfile.gettempdir())
    if scratch.name.startswith(_SCRATCH):
        shutil.rmtree(scratch, ignore_errors=True)


class Loading:
    """While libraries are loaded, for the subprocess itself: nothing is looked through for garbage.

    There is next to none, and looking takes a fifth of the seconds in which torch, transformers and TRL are loaded.
    """

    def __enter__(self) -> None:
        gc.disable()

    def __exit__(self, *_: object) -> None:
        gc.freeze()  # they stay as long as the process does
        gc.enable()
