"""Training on a Ray cluster whose nodes, and whose server, are killed: the numbers are those of an unbroken run."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from openai.types.fine_tuning import FineTuningJob
from serving import wait
from test_trl_serving import Served, method, write_catalogue
from tiny import needs_engine, tiny_model
from training import HELD_UP, HOLDING, Bench, child_of, hold, last_state, let_go, numbers

from reconciler.server.trainers.base import Control, Note, Progress, Step, Trained
from reconciler.server.trainers.trl.cluster import RayExecutor

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    needs_engine,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install -e '.[ray]'"),
]
LONG = method(n_epochs=20, batch_size=4)


class Nodes:
    """A cluster in a process of its own."""

    def __init__(self) -> None:
        program = str(Path(__file__).with_name("ray_nodes.py"))
        environment = {**os.environ, "PYTHONPATH": HOLDING}
        self._process = subprocess.Popen(
            [sys.executable, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
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
        self._process.wait(300)
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
    write_catalogue(directory, model)
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


def test_a_job_whose_server_is_killed_as_it_waits_and_then_its_node_goes_on_on_another(
    nodes: Nodes, model: Path, tmp_path: Path
) -> None:
    with serving(tmp_path / "ray", model, "--executor", "ray", "--ray-address", nodes.address) as server:
        hold(server.directory, 31)
        job = server.create(method=LONG)
        server.reach(job, lambda job: any("Waits for a place" in words for words in server.events(job)))
        server.end(signal.SIGKILL)
        server.start()
        nodes.say("add")
        server.reach_hold(job)
        nodes.say("kill")
        wait(lambda: not processes(server.directory / "work" / job.id), 120)
        let_go(server.directory)
        nodes.say("add")
        job = server.finish(job)
        assert "The training process was ended by signal 9; it goes on from the last checkpoint." in server.events(job)
        broken = results(server, job)
    assert broken == unbroken(tmp_path / "here", model)
    assert len(broken.splitlines()) == 61


def test_a_server_that_was_killed_finds_its_job_still_training(nodes: Nodes, model: Path, tmp_path: Path) -> None:
    nodes.say("add")
    with serving(tmp_path / "ray", model, "--executor", "ray", "--ray-address", nodes.address) as server:
        hold(server.directory, 20)
        job = server.create(method=LONG)
        server.reach_hold(job)
        process = child_of(server.directory / "work" / job.id)
        server.end(signal.SIGKILL)
        server.start()
        assert child_of(server.directory / "work" / job.id) == process
        client = server.client.fine_tuning.jobs
        client.pause(job.id)
        server.reach(job, lambda job: str(job.status) == "paused")
        hold(server.directory, 40)
        client.resume(job.id)
        server.reach(job, lambda job: job.status == "running")
        client.cancel(job.id)
        assert not [words for words in server.events(job) if "goes on from the last checkpoint" in words]


class Workshop:
    """A trainer whose jobs have two workers each, on a cluster that stays when the trainer goes."""

    def __init__(self, directory: Path, model: Path, address: str) -> None:
        self._address = address
        self.bench = Bench(directory, model, resources={"workers": 2})
        self.executor = self._executor()

    def _executor(self) -> RayExecutor:
        self.executor = RayExecutor(self.bench.directory, self._address)
        self.bench.trainer._executor = self.executor
        return self.executor

    def restart(self) -> None:
        """What a server does that is killed and started again."""
        self.executor.close()
        self._executor()

    def wait_until_nothing_is_held(self) -> None:
        """No place in the cluster is asked for or taken, and no process is left."""
        import ray  # noqa: PLC0415

        def held() -> object:
            groups = {each["state"] for each in ray.util.placement_group_table().values()}
            return groups - {"REMOVED"} or processes(self.bench.directory)

        wait(lambda: not held(), 300)


def processes(directory: Path) -> list[str]:
    """The processes that train, or start a job's workers, by what they were told of a directory."""
    words = map(words_of, Path("/proc").glob("[0-9]*"))
    return [str(each) for each in words if any(os.fsencode(directory) in word for word in each)]


def words_of(process: Path) -> list[bytes]:
    """The command of a process; none of one that has ended."""
    with contextlib.suppress(OSError):
        return (process / "cmdline").read_bytes().split(b"\0")
    return []


@pytest.fixture
def workshop(nodes: Nodes, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    nodes.say("add")
    found = Workshop(tmp_path, model, nodes.address)
    yield found
    found.executor.close()


def once(asked: Callable[[Progress], bool], then: Callable[[Control], None]) -> Callable[[Progress, Control], None]:
    """Do something the first time that something happens."""
    done: list[Progress] = []

    def look(progress: Progress, control: Control) -> None:
        if not done and asked(progress):
            done.append(progress)
            then(control)

    return look


def test_a_job_of_two_workers_that_waits_for_a_place_leaves_nothing_once_it_is_cancelled(workshop: Workshop) -> None:
    waits = once(lambda each: isinstance(each, Note) and "2 workers" in each.message, Control.leave)
    found = workshop.bench.train(workshop.bench.run(), waits)
    assert [each.message for each in found if isinstance(each, Note)] == [
        "Waits for a place in the cluster: 2 workers, each with cpus 1, gpus 0."
    ]
    workshop.restart()
    workshop.executor.keep_only(())
    workshop.wait_until_nothing_is_held()


def test_a_job_of_two_workers_outlives_a_node_and_its_server(workshop: Workshop, nodes: Nodes) -> None:
    nodes.say("add")
    run = workshop.bench.run(hyperparameters={"n_epochs": 20})
    hold(workshop.bench.directory, 4)
    happened: list[str] = []

    def look(progress: Progress, control: Control) -> None:
        if progress == HELD_UP:
            happened.append("a node is lost")
            nodes.say("kill")
            nodes.say("add")
        elif isinstance(progress, Note) and progress.message.endswith("it goes on from the last checkpoint."):
            happened.append("all start again")
            let_go(workshop.bench.directory)
        elif isinstance(progress, Step) and len(happened) == 2:
            happened.append("the server ends")
            control.leave()

    first = workshop.bench.train(run, look)
    assert happened == ["a node is lost", "all start again", "the server ends"]
    workshop.restart()
    second = workshop.bench.train(replace(run, state=last_state(first)))
    assert isinstance(second[-1], Trained)
    assert not [each for each in second if isinstance(each, Note)]
    found = numbers(first) | numbers(second)
    assert sorted(found) == list(range(1, 61))
    for each in (*first, *second):  # what was lost was learnt again, to the digit
        assert not isinstance(each, Step) or each.metrics == found[each.step]
    workshop.wait_until_nothing_is_held()
    nodes.say("kill")
