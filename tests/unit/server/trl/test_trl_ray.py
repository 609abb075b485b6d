"""Training on a Ray cluster whose nodes, and whose server, are killed: the numbers are those of an unbroken run."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai.types.fine_tuning import FineTuningJob
from test_trl_serving import CATALOGUE, Served, method
from tiny import needs_engine, tiny_model
from training import child_of

pytestmark = [
    pytest.mark.slow,
    needs_engine,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install -e '.[ray]'"),
]
LONG = method(n_epochs=20, batch_size=4)


class Nodes:
    """A cluster in a process of its own."""

    def __init__(self) -> None:
        program = str(Path(__file__).with_name("ray_nodes.py"))
        self._process = subprocess.Popen(
            [sys.executable, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.address = self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline().strip():
            if line == "done" or line[0].isdigit():  # Ray says a word, too
                return line
        raise AssertionError("the cluster ended")

    def say(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        assert self._line() == "done"

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    found = Nodes()
    yield found
    found.end()


@pytest.fixture
def nodes(cluster: Nodes) -> Iterator[Nodes]:
    """A cluster that a test adds one node to, and has one at the end."""
    yield cluster
    cluster.say("kill")


@pytest.fixture
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory)


@contextlib.contextmanager
def serving(directory: Path, model: Path, *options: str) -> Iterator[Served]:
    directory.mkdir()
    (directory / "models.yaml").write_text(CATALOGUE.format(path=model))
    server = Served(directory, *options)
    with contextlib.closing(server.client):
        try:
            yield server
        finally:
            server.end()


def results(server: Served, job: FineTuningJob) -> str:
    return server.client.files.content(job.result_files[0]).text


def unbroken(directory: Path, model: Path) -> str:
    """The numbers of the same job on this machine."""
    with serving(directory, model) as server:
        return results(server, server.finish(server.create(method=LONG)))


def has_checkpoint(server: Served, job: FineTuningJob) -> bool:
    return bool(server.client.fine_tuning.jobs.checkpoints.list(job.id).data)


def test_a_job_whose_node_is_killed_goes_on_on_another(nodes: Nodes, model: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "ray", model, "--executor", "ray", "--ray-address", nodes.address) as server:
        job = server.create(method=LONG)
        nodes.say("add")
        server.reach(job, lambda job: has_checkpoint(server, job))
        nodes.say("kill")
        nodes.say("add")
        job = server.finish(job)
        events = [event.message for event in server.client.fine_tuning.jobs.list_events(job.id, limit=100)]
        assert "The training process was ended by signal 9; it goes on from the last checkpoint." in events
        broken = results(server, job)
    assert broken == unbroken(tmp_path / "here", model)
    assert len(broken.splitlines()) == 61


def test_a_server_that_was_killed_finds_its_job_still_training(nodes: Nodes, model: Path, tmp_path: Path) -> None:
    nodes.say("add")
    with serving(tmp_path / "ray", model, "--executor", "ray", "--ray-address", nodes.address) as server:
        job = server.create(method=method(n_epochs=50, batch_size=1))
        server.reach(job, lambda job: has_checkpoint(server, job))
        process = child_of(tmp_path / "ray" / "work" / job.id)
        server.end(signal.SIGKILL)
        server.start()
        assert child_of(tmp_path / "ray" / "work" / job.id) == process
        client = server.client.fine_tuning.jobs
        client.pause(job.id)
        server.reach(job, lambda job: str(job.status) == "paused")
        client.resume(job.id)
        server.reach(job, lambda job: job.status == "running")
        client.cancel(job.id)
        events = [event.message for event in client.list_events(job.id, limit=100)]
        assert not [words for words in events if "goes on from the last checkpoint" in words]
