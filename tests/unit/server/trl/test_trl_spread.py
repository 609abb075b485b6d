"""A job of several workers: what is asked of Ray, who is heard, and what a lost worker is taken for."""

from __future__ import annotations

import io
import json
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import ByteSize
from training import order_of

from reconciler.server.trainers.trl import actor as actors
from reconciler.server.trainers.trl import spread
from reconciler.server.trainers.trl.actor import Actor
from reconciler.server.trainers.trl.catalogue import Resources
from reconciler.server.trainers.trl.faults import failure_of, is_lost


class DistBackendError(RuntimeError):
    """What torch raises where NCCL fails."""


def test_each_worker_asks_for_what_the_catalogue_says() -> None:
    asked = Resources(workers=4, gpus=1, cpus=8, memory=ByteSize(1024))
    assert spread.bundle(asked) == {"CPU": 8, "GPU": 1, "memory": 1024}
    assert spread.bundle(Resources(workers=2, gpus=0)) == {"CPU": 1, "GPU": 0}


def test_what_workers_fail_by_is_said_in_a_line() -> None:
    error = RuntimeError("many lines")
    error.worker_failures = {1: ValueError("The node\nhas died.")}  # type: ignore[attr-defined]
    assert spread.why(error) == "worker 1: The node has died."
    assert spread.why(RuntimeError("No\nroom.")) == "RuntimeError: No room."


class OutOfMemoryError(Exception):
    """What Ray raises where it ended an actor because its node's memory ran out."""


@pytest.mark.parametrize(("cause", "starved"), [(OutOfMemoryError(), True), (ValueError(), False), (None, False)])
def test_a_worker_that_ray_ended_for_memory_is_known(cause: Exception | None, starved: bool) -> None:
    error, failure = RuntimeError("many lines"), RuntimeError("A worker health check failed.")
    error.worker_failures = {0: failure}  # type: ignore[attr-defined]
    failure.health_check_failure = cause  # type: ignore[attr-defined]
    assert spread.starved(error) is starved
    assert not spread.starved(failure)


def test_no_key_that_a_library_says_is_shown_nor_the_start_of_one_that_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    key = "hf_" + "k3y" * 20
    monkeypatch.setenv("HF_TOKEN", key)
    error = RuntimeError(f"{'x' * 120} https://me:word@hub.example refuses {key}")
    for words in (str(failure_of(error)), spread.why(error)):
        assert "hub.example" in words
        assert "word" not in words
        assert "k3y" not in words


@pytest.mark.parametrize(
    "error",
    [
        DistBackendError("NCCL error: remote process exited or there was a network error"),
        RuntimeError("[pair.cc:534] Connection closed by peer [10.0.0.1]:1234"),
        RuntimeError("gloo: timed out"),
    ],
)
def test_a_worker_that_lost_another_has_not_failed_itself(error: Exception) -> None:
    assert is_lost(error)


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("gloo"), KeyError("x")])
def test_a_worker_that_failed_itself_has_lost_nobody(error: Exception) -> None:
    assert not is_lost(error)


def test_memory_that_ran_out_counts_as_that_even_where_workers_talk() -> None:
    assert failure_of(DistBackendError("Cuda failure 'out of memory'")).code == "out_of_memory"


def actor() -> tuple[Actor, io.BytesIO]:
    found, file = Actor(), io.BytesIO()
    found._file = file
    return found, file


class Slow:
    """A process that says one thing, and ends when it is let."""

    def __init__(self, goes_on: threading.Event) -> None:
        self._goes_on = goes_on
        self._lines = [b'{"kind": "done"}\n']

    def hear(self, _: float) -> bytes | None:
        if self._lines:
            return self._lines.pop()
        self._goes_on.wait(10)
        return None

    def end(self, _: float) -> int:
        return 0

    def starved(self) -> bool:
        return False

    def last_words(self) -> str:
        return ""


def test_an_actor_that_several_servers_ask_to_train_begins_once_and_ends_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun, ended, goes_on = threading.Event(), [], threading.Event()

    def start(*_: object, **__: object) -> Slow:
        assert not begun.is_set()
        begun.set()
        return Slow(goes_on)

    monkeypatch.setattr(actors, "start_child", start)
    ray = SimpleNamespace(actor=SimpleNamespace(exit_actor=lambda: ended.append("ended")))
    monkeypatch.setitem(sys.modules, "ray", ray)
    order = order_of(tmp_path).model_dump_json()
    hub = Actor()
    first = threading.Thread(target=hub.train, args=(order, {}))
    first.start()
    assert begun.wait(10)
    hub.train(order, {})
    assert ended == []
    goes_on.set()
    first.join(10)
    assert ended == ["ended"]
    told = actors.told_file(tmp_path / "work" / "x").read_text()
    assert [json.loads(line)["kind"] for line in told.splitlines()] == ["done", "ended"]


def test_of_several_workers_that_fail_the_first_is_heard() -> None:
    hub, file = actor()
    for line in ({"kind": "began"}, {"kind": "failed", "code": "out_of_memory"}, {"kind": "failed", "code": "later"}):
        hub.tell(json.dumps(line))
    assert [json.loads(line).get("code") for line in file.getvalue().splitlines()] == [None, "out_of_memory"]


def test_a_job_has_its_place_once_its_workers_have() -> None:
    hub, _ = actor()
    assert not hub.ping()
    hub.arrive()
    assert hub.ping()


def test_a_run_that_is_dropped_ends_and_its_workers_stop() -> None:
    hub, _ = actor()
    told: list[str] = []
    hub._child = SimpleNamespace(tell=told.append)  # type: ignore[assignment]
    hub.drop()
    assert hub.stopping()
    assert told == ["drop"]


@pytest.mark.parametrize(("several", "said"), [(False, ["kept 6", "kept 3"]), (True, [])])
def test_workers_ask_which_checkpoint_was_recorded_and_a_process_alone_is_told(several: bool, said: list[str]) -> None:
    hub, _ = actor()
    told: list[str] = []
    hub._child = SimpleNamespace(tell=told.append)  # type: ignore[assignment]
    hub._several = several
    assert hub.kept() == 0
    hub.keep(6)
    hub.keep(3)
    assert hub.kept() == 6
    assert told == said


def test_workers_ask_whether_to_stop() -> None:
    hub, _ = actor()
    told: list[str] = []
    hub._child = SimpleNamespace(tell=told.append)  # type: ignore[assignment]
    assert not hub.stopping()
    hub.request_stop()
    assert hub.stopping()
    assert told == ["stop"]
