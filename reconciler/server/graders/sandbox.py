"""Python graders, each in a process of its own that is shut in (see ``inmate.py``) and killed in time."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from reconciler.server.graders.case import Case, GraderFault
from reconciler.server.graders.settings import GraderSettings

INMATE = Path(__file__).with_name("inmate.py")
"""The program that runs a grader."""

_ANSWER_BYTES = 64 * 1024
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_XCPU, _LATE, _GRACE = 24, 124, 2.0
_FILTERS = threading.Lock()


def run_python(source: str, case: Case, settings: GraderSettings) -> float:
    """Run ``grade(sample, item)`` of a source, in ``settings.python`` mode; return its reward.

    Raises:
        GraderFault: it raised, took too long, or could not be shut in.
    """
    request = {
        "mode": settings.python,
        "seconds": settings.python_seconds,
        "memory": settings.python_memory,
        "source": source,
        "sample": case.sample,
        "item": dict(case.item),
    }
    try:
        return _exchange(json.dumps(request).encode(), settings.python_seconds)
    except OSError as error:
        words = f"The grader could not be started: {error.strerror or error}."
        raise GraderFault("python_grader_server_error", words, kind="unavailable") from error


def _exchange(request: bytes, seconds: float) -> float:
    with (
        tempfile.TemporaryDirectory(prefix="reconciler-grader-", ignore_cleanup_errors=True) as directory,
        tempfile.TemporaryFile() as asked,
        tempfile.TemporaryFile() as answered,
    ):
        asked.write(request)
        asked.seek(0)
        code = _run(directory, asked, answered, seconds)
        answered.seek(0)
        return _reward(answered.read(_ANSWER_BYTES), code)


def fault_of_source(source: str) -> str | None:
    """Say why a source can be no grader, without running any of it; None where it may be one."""
    try:
        # Warnings are for the source's author, not for this server's log; their filters belong to all threads.
        with _FILTERS, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except SyntaxError as error:
        return f"line {error.lineno}: {error.msg}" if error.lineno else str(error.msg)
    except (ValueError, RecursionError, MemoryError) as error:
        return str(error) or "nested too deeply"
    names = {name for statement in tree.body for name in _defined(statement)}
    return None if names & {"grade", "*"} else "the source defines no function grade(sample, item)"


def _defined(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement may define: more rather than fewer."""
    for node in ast.walk(statement):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.alias(name=name, asname=other):
                yield other or name


def _run(directory: str, asked: IO[bytes], answered: IO[bytes], seconds: float) -> int:
    """Run the inmate to its end. Its output goes to a file, whose size is limited, so it cannot fill memory here."""
    command = [sys.executable, "-I", "-B", str(INMATE)]
    with subprocess.Popen(  # noqa: S603 - our own program
        command,
        stdin=asked,
        stdout=answered,
        stderr=subprocess.DEVNULL,
        cwd=directory,
        env=_ENVIRONMENT,
        start_new_session=True,
    ) as process:
        try:
            code = process.wait(seconds + _GRACE)  # it ends itself; this is for one that does not
        except subprocess.TimeoutExpired:
            code = _LATE
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    if code in {_LATE, -signal.SIGALRM}:
        words = f"The grader took longer than {seconds:g} seconds."
        raise GraderFault("python_grader_server_error", words, kind="timeout")
    return code


def _reward(output: bytes, code: int) -> float:
    if code in {-_XCPU, 128 + _XCPU}:
        raise GraderFault("python_grader_server_error", "The grader took too much processor time.", kind="timeout")
    try:
        answer: Mapping[str, Any] = json.loads(output)
        if "reward" in answer:
            return float(answer["reward"])
        kind, details = str(answer["error"]), str(answer["details"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        words = f"The grader ended without an answer (exit code {code}): too much memory, or a crash."
        raise GraderFault("python_grader_server_error", words, kind="crashed") from error
    if kind == "isolation":
        words = f"The grader could not be shut in: {details}."
        raise GraderFault("python_grader_server_error", words, kind=kind)
    raise GraderFault("python_grader_runtime_error", details)
