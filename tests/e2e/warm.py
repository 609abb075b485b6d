"""Runs a command as a process of its own that is spared the loading of libraries: forked from one that did only that.

Half of a short command's time goes into loading what never changes: libraries, the wire's types, the embedded server.
Here a process loads them once and waits. For each command it forks: the new process gets directory, environment and
streams of its own, loads the rest of the program as a user's does, in the same order, and ends as Python ends.
Signals, terminals and what stays in the background are tested with processes that start from nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

LOADED = (
    "anyio._backends._asyncio", "click", "fastapi.applications", "httpx", "ruamel.yaml", "ryaml",
    "reconciler.server.local",
)  # fmt: skip
"""What is loaded before: nothing that decides what a command does."""
_SEES_US = {"PYTHONPATH": str(Path(__file__).parents[2])}
_MESSAGE = 1_000_000
_AT_START = ("PYTHON", "LC_", "LANG")
"""Variables that Python itself reads, when it starts."""


class Warm:
    """The process that has loaded everything, and the way to ask it."""

    def __init__(self) -> None:
        self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._door.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MESSAGE)
        self._one_at_a_time = threading.Lock()
        with theirs:
            number = theirs.fileno()
            command = [sys.executable, __file__, str(number)]
            env = {**os.environ, **_SEES_US}
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=env, pass_fds=[number])

    def end(self) -> None:
        self._door.close()
        self.process.wait()

    def run(
        self, arguments: Sequence[str], directory: Path, environment: Mapping[str, str], stdin: str, timeout: float
    ) -> tuple[int, str, str]:
        """Run ``reconciler`` to its end, and return its exit code, stdout and stderr."""
        asked = json.dumps([list(arguments), str(directory), dict(environment)]).encode()
        ours, theirs = socket.socketpair()
        with ours, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as given:
            given.write(stdin.encode())
            given.seek(0)
            with theirs, self._one_at_a_time:
                files = [given.fileno(), out.fileno(), err.fileno(), theirs.fileno()]
                socket.send_fds(self._door, [asked], files)
            code = _ended(ours, arguments, timeout)
            out.seek(0)
            err.seek(0)
            return code, out.read().decode(), err.read().decode()


def _ended(ours: socket.socket, arguments: Sequence[str], timeout: float) -> int:
    with ours.makefile("r") as told:
        process = int(told.readline())
        ours.settimeout(timeout)
        try:
            return os.waitstatus_to_exitcode(int(told.readline()))
        except TimeoutError:
            os.kill(process, signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(arguments), timeout) from None


@functools.cache
def warm() -> Warm:
    """Return this test process's own; it ends with it."""
    made = Warm()
    atexit.register(made.end)
    return made


def can_be_warm(environment: Mapping[str, str]) -> bool:
    """Say whether a command under ``environment`` may be forked: Python itself would read nothing else in it."""

    def read(variables: Mapping[str, str]) -> dict[str, str]:
        return {k: v for k, v in variables.items() if k.startswith(_AT_START)}

    return sys.platform == "linux" and read(environment) == read({**os.environ, **_SEES_US})


def _serve(door: socket.socket) -> None:
    """Fork for each message, until nobody is left to send any. Returns in the process of a command, to run it."""
    while True:
        asked, files, _, _ = socket.recv_fds(door, _MESSAGE, 4)
        if not asked:
            _forget_the_ended(0)
            sys.exit()
        if os.fork() == 0:
            break
        for file in files:
            os.close(file)
        _forget_the_ended(os.WNOHANG)
    door.close()
    with socket.socket(fileno=files[3]) as reply:
        if command := os.fork():
            reply.sendall(f"{command}\n".encode())
            reply.sendall(f"{os.waitpid(command, 0)[1]}\n".encode())
            os._exit(0)
    arguments, directory, environment = json.loads(asked)
    for stream, file in enumerate(files[:3]):
        os.dup2(file, stream)
        os.close(file)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments
    sys.path[0] = directory  # as for ``python -m``


def _forget_the_ended(options: int) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, options)[0]:
            pass


if __name__ == "__main__":
    for name in LOADED:
        import_module(name)
    gc.freeze()  # nobody looks through it again
    _serve(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module("reconciler", run_name="__main__", alter_sys=True)
