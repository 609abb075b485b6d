"""Python graders: what they return, and what they cannot do however hard they try."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from fastapi.testclient import TestClient

from reconciler.api.types import PythonGrader
from reconciler.errors import UsageError
from reconciler.server.graders.case import Case, GraderFault
from reconciler.server.graders.grading import GraderRefused, Graders
from reconciler.server.graders.sandbox import INMATE, run_python
from reconciler.server.graders.settings import GraderSettings, PythonMode, from_environment
from reconciler.server.routes.graders import one_of_a_few

Grading = Callable[[GraderSettings], TestClient]
MEMORY = 256 * 1024 * 1024


def settings(mode: PythonMode, *, seconds: float = 20) -> GraderSettings:
    return GraderSettings(python=mode, python_seconds=seconds, python_memory=MEMORY)


def isolates() -> bool:
    try:
        return run_python("def grade(sample, item): return 1", Case(""), settings("isolated")) == 1
    except GraderFault as fault:
        return fault.kind != "isolation"


needs_isolation = pytest.mark.skipif(not isolates(), reason="this machine grants no user namespaces")
MODES = [pytest.param("isolated", marks=needs_isolation), "limited"]


def fault(source: str, mode: PythonMode, *, seconds: float = 20) -> GraderFault:
    with pytest.raises(GraderFault) as raised:
        run_python(source, Case("42", {"answer": 42}), settings(mode, seconds=seconds))
    return raised.value


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("source", "reward"),
    [
        ("def grade(sample, item): return float(sample['output_text'] == str(item['answer']))", 1),
        ("def grade(sample, item): return sample['output_json'] / 84", 0.5),
        ("def grade(sample, item): return sample['output_tools'] == []", 1),
        ("def grade(sample, item): return 5", 5),
        ("grade = lambda sample, item: -0.5", -0.5),
        ("import json, re, math, statistics, hashlib\ndef grade(sample, item): return math.sqrt(4)", 2),
        ("import numpy\ndef grade(sample, item): return numpy.float32(0.5)", 0.5),
        ("def grade(sample, item):\n    print('noise' * 10000)\n    return 1", 1),
        (
            "import threading\ndef grade(s, i):\n    t = threading.Thread(target=print); t.start(); t.join(); return 1",
            1,
        ),
        ("def grade(sample, item):\n    open('/tmp/a', 'w').write('x'); return len(open('/tmp/a').read())", 1),
    ],
)
def test_a_grader_returns_its_number(mode: PythonMode, source: str, reward: float, tmp_path: Path) -> None:
    if mode == "limited":
        source = source.replace("/tmp/a", str(tmp_path / "a"))
    assert run_python(source, Case("42", {"answer": 42}), settings(mode)) == reward


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def grade(sample, item):\n    x = 1\n    return item['other']", "KeyError: 'other' (line 3)"),
        ("def grade(sample, item) return 1", "SyntaxError: expected ':' (line 1)"),
        ("x = 1", "defines no function grade"),
        ("grade = 1", "defines no function grade"),
        ("def grade(sample): return 1", "TypeError"),
        ("def grade(sample, item): return 'high'", "returned str, not a number"),
        ("def grade(sample, item): return None", "returned NoneType, not a number"),
        ("def grade(sample, item): return float('nan')", "not a finite number"),
        ("def grade(sample, item): return 10 ** 400", "OverflowError"),
        ("def grade(sample, item): raise SystemExit(0)", "SystemExit"),
        ("raise ValueError('at \\ud800 once')", "ValueError: at ? once (line 1)"),
        ("class E(Exception):\n    def __str__(self): raise E\nraise E", "E (line 3)"),
        ("def grade(sample, item): return grade(sample, item)", "RecursionError"),
        ("import no_such_module", "ModuleNotFoundError"),
        ("def grade(sample, item): return len(bytearray(10 ** 9))", "MemoryError"),
        ("", "defines no function grade"),
    ],
)
def test_a_grader_that_fails_says_why_and_where(source: str, words: str) -> None:
    failed = fault(source, "limited")
    assert (failed.flag, failed.kind) == ("python_grader_runtime_error", None)
    assert words in failed.details


TRIES = {
    "a socket": "import socket\nsocket.socket()",
    "a socket, by its call": "import ctypes\nif ctypes.CDLL(None).socket(2, 1, 0) < 0: raise PermissionError",
    "a ring": "import ctypes\nif ctypes.CDLL(None).syscall(425, 8, bytes(120)) < 0: raise PermissionError",
    "a fork": "import os\nos.fork()",
    "a process": "import subprocess\nsubprocess.run(['/bin/true'])",
    "another program": "import os\nos.execv('/bin/true', ['true'])",
    "a signal": "import os\nos.kill(1, 0)",
    "a trace": "import ctypes\nif ctypes.CDLL(None).ptrace(16, 1, 0, 0) < 0: raise PermissionError",
    "a namespace": "import ctypes\nif ctypes.CDLL(None).unshare(0x10000000) < 0: raise PermissionError",
    "a mount": "import ctypes\nif ctypes.CDLL(None).mount(b'/', b'/', None, 4096, None) < 0: raise PermissionError",
    "another root": "import os\nos.chroot('/')",
    "a session of its own": "import os\nos.setsid()",
    "more memory": f"import resource\nresource.setrlimit(resource.RLIMIT_AS, ({2 * MEMORY}, {2 * MEMORY}))",
    "more time": "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (9999, 9999))",
    "a big file": "import tempfile\ntempfile.TemporaryFile().write(bytes(17 << 20))",
}
REFUSALS = ("PermissionError", "OSError", "ValueError: not allowed")


def trying(body: str) -> str:
    return f"def grade(sample, item):\n    {f'{chr(10)}    '.join(body.splitlines())}\n    return 1"


@needs_isolation
@pytest.mark.parametrize("what", TRIES)
def test_an_isolated_grader_gets_none_of_this(what: str) -> None:
    failed = fault(trying(TRIES[what]), "isolated")
    assert failed.details.startswith(REFUSALS), failed.details


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can filter system calls")
def test_a_limited_grader_gets_none_of_it_either() -> None:
    source = f"""
got = []
for what, body in {TRIES!r}.items():
    try:
        exec(body, {{}})
        got.append(what)
    except (OSError, ValueError):
        pass
raise ValueError(got)
"""
    assert "ValueError: []" in fault(source, "limited").details


FILES = {
    "the users": "open('/etc/passwd').read()",
    "processes": "import os\nos.listdir('/proc')",
    "devices": "open('/dev/null')",
    "this test": f"open({__file__!r}).read()",
    "the server's directory": f"import os\nos.listdir({str(Path(__file__).parent)!r})",
    "its home": f"import os\nos.listdir({str(Path.home() / '.ssh')!r})",
    "Python's own files, to write": "import os, json\nopen(json.__file__, 'a')",
    "a library's place, to write": "import os, json\nopen(os.path.dirname(json.__file__) + '/new.py', 'w')",
    "above the root": "open('/../../../../etc/passwd').read()",
    "more disk than there is": "for n in range(9): open(f'/tmp/{n}', 'wb').write(bytes(15 << 20))",
}


@needs_isolation
@pytest.mark.parametrize("what", FILES)
def test_an_isolated_grader_has_no_files_but_pythons_own(what: str) -> None:
    failed = fault(trying(FILES[what]), "isolated")
    assert failed.flag == "python_grader_runtime_error"
    assert failed.details.startswith(("FileNotFoundError", "PermissionError", "OSError")), failed.details


@needs_isolation
def test_an_isolated_grader_is_alone_and_nobody() -> None:
    failed = fault("import os\nraise ValueError([os.getpid(), os.getuid(), sorted(os.environ)])", "isolated")
    assert "[1, 65534, [" in failed.details
    assert "HOME" not in failed.details


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("body", ["while True: pass", "import time\ntime.sleep(600)"])
def test_a_grader_that_takes_too_long_is_ended(mode: PythonMode, body: str) -> None:
    started = time.monotonic()
    failed = fault(trying(body), mode, seconds=1)
    assert (failed.flag, failed.kind) == ("python_grader_server_error", "timeout")
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("mode", MODES)
def test_a_grader_that_was_ended_leaves_no_process(mode: PythonMode) -> None:
    known = set(psutil.Process().children(recursive=True))
    assert fault(trying("import time\ntime.sleep(600)"), mode, seconds=0.7).kind == "timeout"
    assert set(psutil.Process().children(recursive=True)) <= known
    assert not [each for each in psutil.process_iter(["cmdline"]) if marked(each)]


def marked(process: psutil.Process) -> bool:
    """Whether a process is a grader that nobody waits for."""
    try:
        return (process.info["cmdline"] or [])[-1:] == [str(INMATE)] and process.ppid() in {1, os.getpid()}
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "body", ["import os\nos._exit(0)", "import ctypes\nctypes.string_at(0)", "import os\nos.write(3, b'[1]' * 9)"]
)
def test_a_grader_that_dies_or_babbles_is_flagged(mode: PythonMode, body: str) -> None:
    failed = fault(trying(body), mode)
    assert (failed.flag, failed.kind) == ("python_grader_server_error", "crashed")


def test_a_machine_that_cannot_start_a_process_is_flagged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    failed = fault("def grade(sample, item): return 1", "limited")
    assert (failed.flag, failed.kind) == ("python_grader_server_error", "unavailable")


def test_a_machine_that_cannot_isolate_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inmate = tmp_path / "inmate.py"
    inmate.write_text(INMATE.read_text().replace("def _enter_namespaces() -> None:", NO_NAMESPACES))
    monkeypatch.setattr("reconciler.server.graders.sandbox.INMATE", inmate)
    graders = Graders(settings("isolated"))
    with pytest.raises(GraderRefused, match="cannot be isolated") as refused:
        graders.check(PythonGrader.model_validate(GRADER))
    assert refused.value.code == "python_grader_not_isolated"


NO_NAMESPACES = "def _enter_namespaces() -> None:\n    raise OSError(1, 'unshare: Operation not permitted')"


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    source = "import os\nopen('left', 'w').write('x')\ndef grade(sample, item): return 1"
    assert run_python(source, Case(""), settings("limited")) == 1
    assert list(tmp_path.iterdir()) == []


GRADER: dict[str, Any] = {
    "type": "python",
    "name": "code",
    "source": "def grade(sample, item): return len(sample['output_text']) / item['n']",
}


def run(client: TestClient, grader: dict[str, Any]) -> Any:
    body = {"grader": grader, "model_sample": "abc", "item": {"n": 6}}
    return client.post("fine_tuning/alpha/graders/run", json=body)


@pytest.mark.parametrize("mode", MODES)
def test_a_server_that_allows_it_runs_python(grading: Grading, mode: PythonMode) -> None:
    client = grading(settings(mode))
    answer = run(client, GRADER).json()
    assert answer["reward"] == 0.5
    failing = run(client, GRADER | {"source": "def grade(sample, item): return item['x']"}).json()
    assert failing["reward"] == 0
    assert failing["metadata"]["errors"]["python_grader_runtime_error"]
    assert failing["metadata"]["errors"]["python_grader_runtime_error_details"] == "KeyError: 'x' (line 1)"


def test_many_cases_are_graded_in_their_order() -> None:
    grader = PythonGrader.model_validate(GRADER)
    cases = [Case("x" * size, {"n": 10}) for size in range(5)]
    graded = Graders(settings("limited")).grade_all(grader, cases)
    assert [each.reward for each in graded] == [0, 0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize("within", [False, True])
def test_python_is_off_unless_the_servers_owner_says_so(client: TestClient, *, within: bool) -> None:
    multi = {"type": "multi", "name": "m", "graders": {"code": GRADER}, "calculate_output": "code"}
    answer = run(client, multi if within else GRADER)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (403, "python_grader_not_allowed")
    assert error["param"] == ("grader.graders.code" if within else "grader")
    assert "RECONCILER_PYTHON_GRADERS" in error["message"]


def test_too_many_at_once_are_told_to_come_again(client: TestClient) -> None:
    check = {"type": "string_check", "name": "c", "input": "a", "reference": "a", "operation": "eq"}
    with ExitStack() as others:
        for _ in range(8):
            others.enter_context(one_of_a_few())
        refused = run(client, check)
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "1"
    assert run(client, check).json()["reward"] == 1


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def grade(sample, item):\n    return (", "line 2: '(' was never closed"),
        ("def score(sample, item): return 1", "grade(sample, item)"),
        ("\0", "null bytes"),
        ("(" * 9999, "nested"),
    ],
)
@pytest.mark.parametrize("within", [False, True])
def test_a_source_that_cannot_run_is_no_valid_grader(
    client: TestClient, source: str, words: str, *, within: bool
) -> None:
    grader = GRADER | {"source": source}
    multi = {"type": "multi", "name": "m", "graders": {"code": grader}, "calculate_output": "code"}
    body = {"grader": multi if within else grader}
    answer = client.post("fine_tuning/alpha/graders/validate", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, f"grader{'.graders.code' * within}.source")
    assert words in error["message"]


@pytest.mark.parametrize("source", [GRADER["source"], "from math import sqrt as grade", "grade = max", 'grade = "\\d"'])
def test_a_source_that_may_run_is_a_valid_grader(client: TestClient, source: str) -> None:
    body = {"grader": GRADER | {"source": source}}
    assert client.post("fine_tuning/alpha/graders/validate", json=body).status_code == 200


def test_the_environment_says_what_graders_may_do() -> None:
    assert from_environment({}) == GraderSettings()
    given = {
        "RECONCILER_PYTHON_GRADERS": "isolated",
        "RECONCILER_GRADER_URL": "http://127.0.0.1:8000/v1",
        "RECONCILER_GRADER_KEY": "secret-key",
    }
    found = from_environment(given)
    assert (found.python, found.model_url, found.model_key) == ("isolated", "http://127.0.0.1:8000/v1", "secret-key")
    assert "secret-key" not in repr(found)


@pytest.mark.parametrize(
    ("variable", "value"), [("RECONCILER_PYTHON_GRADERS", "yes"), ("RECONCILER_GRADER_URL", "127.0.0.1:8000")]
)
def test_an_environment_that_is_wrong_is_a_usage_error(variable: str, value: str) -> None:
    with pytest.raises(UsageError, match=variable):
        from_environment({variable: value})
