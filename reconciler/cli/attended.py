"""Who sits before a watch: lines for them, questions to them, and the signals they send."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import click

from reconciler.cli.say import in_json, say
from reconciler.cli.secrets import SECRETS
from reconciler.cli.terminal import Terminal
from reconciler.report.escape import clean
from reconciler.report.style import paint
from reconciler.watch.asking import Asking
from reconciler.watch.engine import Watch
from reconciler.watch.voice import Voice

_PATIENCE = 20.0
"""Seconds in which a look in progress may end once a signal has come."""
_STYLES = {"info": "", "warning": "warn", "error": "bad"}


def write(message: str, level: str, fields: Mapping[str, Any]) -> None:
    """Write a line: what happens to stdout, what is wrong to stderr; in JSON all of it goes to stderr."""
    text = SECRETS.redact(message)
    if in_json():
        say(text, level, **fields)
        return
    wrong = level != "info"
    color = Terminal.of(sys.stderr if wrong else sys.stdout).color
    line = [(time.strftime("%H:%M:%S "), "dim"), (clean(text), _STYLES[level])]
    click.echo(paint(line, color=color), err=wrong)


def pose(question: str) -> None:
    """Show a question; what is typed comes in at ``listen``."""
    if in_json():
        say(f"{question} [y/N]")
    else:
        click.echo(f"{clean(question)} [y/N]", err=True)


def at_a_terminal() -> bool:
    """Whether somebody can answer. A job in the background of a shell would be stopped for reading."""
    if not sys.stdin.isatty():
        return False
    if os.name != "posix":
        return True
    signal.signal(signal.SIGTTIN, signal.SIG_IGN)  # reading then fails, should it be sent there later
    return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()


def listen(asking: Asking, watch: Watch) -> None:
    """Hear what a person types, in a thread: nothing else waits for it, and it ends with the process."""
    loop = asyncio.get_running_loop()

    def hear(line: str) -> None:
        if asking.answer(line):
            watch.soon()

    def read() -> None:
        with suppress(OSError, ValueError, RuntimeError):  # the terminal is gone, or the loop has ended
            for line in sys.stdin:
                loop.call_soon_threadsafe(hear, line)

    threading.Thread(target=read, name="answers", daemon=True).start()


@contextmanager
def ending(watch: Watch, voice: Voice) -> Iterator[Callable[[], None]]:
    """Let the first SIGINT or SIGTERM end the watch after the look in progress, and another one at once.

    What is yielded does as a signal does.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    signals = (signal.SIGINT, signal.SIGTERM)
    stopped = False

    def end() -> None:
        nonlocal stopped
        if stopped and task is not None:
            task.cancel()
            return
        stopped = True
        if not watch.resting:
            voice.say("Ending with the look in progress; interrupt again to end at once.", event="ending")
        watch.stop()
        if task is not None:
            loop.call_later(_PATIENCE, task.cancel)

    if os.name == "posix" and threading.current_thread() is threading.main_thread():
        for number in signals:
            loop.add_signal_handler(number, end)
    try:
        yield end
    except asyncio.CancelledError:
        if not stopped:
            raise
    finally:
        if os.name == "posix" and threading.current_thread() is threading.main_thread():
            for number in signals:
                loop.remove_signal_handler(number)
