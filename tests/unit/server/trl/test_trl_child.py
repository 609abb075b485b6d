"""Subprocesses of the server: whatever they leave behind goes with them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

from reconciler.server.trainers.trl import oom
from reconciler.server.trainers.trl.child import Child

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="files that are open are not removed there")

MESSY = """
    import os, sys, tempfile
    from reconciler.server.trainers.trl.child import Parent

    parent = Parent()
    kept = tempfile.mkdtemp()
    parent.listen(lambda line: os._exit(3) if line.strip() == "end" else None)
    parent.tell(kept)
    import time
    time.sleep(60)
"""
SERVER = """
    import os, sys
    from pathlib import Path
    from reconciler.server.trainers.trl.child import Child

    child = Child("messy", [], log=Path(sys.argv[1]), environment={})
    print(child.hear(30).decode().strip(), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Modules that run as subprocesses, in a place that they are found in, and a directory for temporary files."""
    (tmp_path / "messy.py").write_text(textwrap.dedent(MESSY))
    (tmp_path / "server.py").write_text(textwrap.dedent(SERVER))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    return tmp_path


def test_no_key_is_among_its_last_words(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "key-of-somebody")
    (modules / "talks.py").write_text("import os, sys; sys.exit('401 for ' + os.environ['WANDB_API_KEY'])")
    child = Child("talks", [], log=modules / "log", environment={})
    assert child.end(30) == 1
    assert child.last_words() == "401 for [key]"


@pytest.mark.parametrize(("how", "code"), [("end", 3), ("kill", -9)])
def test_its_temporary_files_go_with_it(modules: Path, how: str, code: int) -> None:
    child = Child("messy", [], log=modules / "log", environment={})
    line = child.hear(30)
    assert line, child.last_words()
    assert Path(line.decode().strip()).is_dir()
    if how == "end":
        child.tell("end")
    assert child.end(patience=30 if how == "end" else 0) == code
    assert list((modules / "temporary").iterdir()) == []


def test_one_that_cannot_be_started_leaves_none(modules: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Child("messy", [], log=modules / "nowhere" / "log", environment={})
    assert list((modules / "temporary").iterdir()) == []


def test_they_go_where_the_server_is_killed_too(modules: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, str(modules / "server.py"), str(modules / "log")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=dict(os.environ),
    )
    with server:
        assert server.stdout is not None
        assert Path(server.stdout.readline().decode().strip()).is_dir()
        server.kill()
    deadline = time.monotonic() + 30
    while list((modules / "temporary").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list((modules / "temporary").iterdir()) == []


def test_one_that_is_killed_by_others_may_have_been_for_memory(modules: Path) -> None:
    ours, theirs = (Child("messy", [], log=modules / f"log{number}", environment={}) for number in range(2))
    os.kill(theirs.pid, signal.SIGKILL)
    assert (ours.end(), theirs.end(patience=30)) == (-9, -9)
    assert (ours.starved(), theirs.starved()) == (False, None)


EVENTS = "low 0\nhigh 0\nmax 12\noom 2\noom_kill 7\noom_group_kill 0\n"


@pytest.mark.parametrize(
    ("group", "place", "count"),
    [
        ("0::/\n", ".", 7),
        ("4:memory:/other\n0::/system.slice/reconciler.service\n", "system.slice/reconciler.service", 7),
        ("0::/gone\n", ".", 0),
        ("4:memory:/other\n", ".", 0),
    ],
)
def test_the_kernel_is_asked_how_many_it_ended_for_memory(tmp_path: Path, group: str, place: str, count: int) -> None:
    (tmp_path / "cgroup").write_text(group)
    (tmp_path / "all" / place).mkdir(parents=True)
    (tmp_path / "all" / place / "memory.events").write_text(EVENTS)
    assert oom.kills(tmp_path / "cgroup", tmp_path / "all") == count
    assert oom.kills(tmp_path / "none", tmp_path / "all") == 0
