"""How a job on a cluster is heard: through its file, whether its actor lives, waits or is lost. Ray is stood in for."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ports import kept_port
from training import order_of

from reconciler.errors import MissingExtra, UsageError
from reconciler.server.trainers.base import Placement, TrainerOptions
from reconciler.server.trainers.trl import cluster
from reconciler.server.trainers.trl.cluster import RayExecutor, RayProcess
from reconciler.server.trainers.trl.devices import CLUSTER
from reconciler.server.trainers.trl.order import Order
from reconciler.server.trainers.trl.trainer import TrlTrainer


class RayError(Exception):
    """Everything that Ray says."""


class Unavailable(RayError):
    """The network is gone for a moment."""


class Starved(RayError):
    """The node's memory ran out, and Ray ended the actor. It is no error of actors."""


class Dead(RayError):
    """The actor has ended, or its node is lost."""


_FAULTS = {"dead": Dead, "away": Unavailable, "starved": Starved}


class FakeRay:
    """A cluster of one actor: ``state`` is waiting, alive, away, starved or dead."""

    exceptions = SimpleNamespace(
        RayError=RayError, RayActorError=Dead, ActorUnavailableError=Unavailable, OutOfMemoryError=Starved
    )

    def __init__(self, state: str = "alive") -> None:
        self.state = state
        self.asked: list[str] = []
        methods = {
            name: SimpleNamespace(remote=self._call(name))
            for name in ("ping", "request_stop", "give_up", "keep", "drop")
        }
        self.actor = SimpleNamespace(**methods)

    def _call(self, name: str) -> Any:
        return lambda *words: self.asked.append(" ".join([name, *map(str, words)]))

    def wait(self, refs: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        assert timeout >= 0
        return ([], refs) if self.state == "waiting" else (refs, [])

    def get(self, _: Any, timeout: float | None = None) -> None:
        del timeout
        if self.state in _FAULTS:
            raise _FAULTS[self.state]

    def kill(self, actor: Any) -> None:
        assert actor is self.actor
        self.state = "dead"


class FakeCluster(FakeRay):
    """A cluster that servers join: it has ``gpus``, and the actor once it was ``made``, as it was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__("waiting")
        self.gpus = 0
        self.made: list[dict[str, Any]] = []
        self.ordered: list[Order] = []
        self.actor.train = SimpleNamespace(remote=self._train)
        self.util = SimpleNamespace(list_named_actors=lambda: [each["name"] for each in self.made])
        monkeypatch.setitem(sys.modules, "ray", self)
        monkeypatch.setattr("importlib.util.find_spec", lambda _: self)

    def _train(self, order: str, _: Any) -> None:
        self.asked.append("train")
        self.ordered.append(Order.model_validate_json(order))

    def wait(self, refs: list[Any], timeout: float, **_: Any) -> tuple[list[Any], list[Any]]:
        time.sleep(min(timeout, 0.01))
        return super().wait(refs, timeout)

    def shutdown(self) -> None:
        self.asked.append("shutdown")

    def init(self, *_: Any, **__: Any) -> None:
        self.ordered.clear()

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 4.0, **({"GPU": float(self.gpus)} if self.gpus else {})}

    def get_actor(self, _: str) -> Any:
        if not self.made or self.state == "dead":
            raise ValueError
        return self.actor

    def remote(self, _: type) -> Any:
        def options(**given: Any) -> Any:
            self.made.append(given)
            self.state = "waiting"
            return SimpleNamespace(remote=lambda: self.actor)

        return SimpleNamespace(options=options)


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    return FakeCluster(monkeypatch)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "told.jsonl"
    file.touch()
    return file


def say(file: Path, *lines: dict[str, Any]) -> None:
    with file.open("a") as opened:
        opened.writelines(json.dumps(line) + "\n" for line in lines)


def process(ray: FakeRay, file: Path, **facts: Any) -> RayProcess:
    return RayProcess(ray, ray.actor, file, **{"stays": True, "heard": -1, **facts})


def heard(process: RayProcess) -> list[str]:
    """All that it says until it has ended."""
    found: list[str] = []
    for _ in range(20):
        line = process.hear(0)
        if line is None:
            return found
        if line:
            found.append(json.loads(line)["kind"])
    raise AssertionError("it does not end")


ENDED = {"kind": "ended", "step": 3, "message": "Oh."}


def test_what_was_written_is_heard_and_its_end_with_its_code(file: Path) -> None:
    say(file, {"kind": "began"}, {"kind": "done"}, ENDED)
    found = process(FakeRay(), file)
    assert heard(found) == ["began", "done"]
    assert (found.end(), found.last_words(), file.exists()) == (3, "Oh.", False)


def test_a_line_is_heard_once_it_is_whole(file: Path) -> None:
    found = process(FakeRay(), file)
    file.write_text('{"kind": "be')
    assert found.hear(0) == b""
    file.write_text('{"kind": "began"}\n')
    assert json.loads(found.hear(0) or b"")["kind"] == "began"


def test_of_a_lost_node_all_is_heard_that_it_wrote(file: Path) -> None:
    ray = FakeRay("dead")
    found = process(ray, file)
    assert found.hear(0) == b""
    say(file, {"kind": "saved", "step": 3, "total": 6})
    assert heard(found) == ["saved"]
    assert found.end() == -9


@pytest.mark.parametrize(("state", "starved"), [("dead", False), ("starved", True)])
def test_what_ray_ended_for_memory_is_told_from_a_lost_node(file: Path, state: str, starved: bool) -> None:
    found = process(FakeRay(state), file)
    assert heard(found) == []
    assert (found.end(), found.starved()) == (-9, starved)


@pytest.mark.parametrize(("why", "starved"), [("", False), ("killed", None), ("out_of_memory", True)])
def test_who_killed_a_process_is_heard_from_its_node(file: Path, why: str, starved: bool | None) -> None:
    say(file, ENDED | {"step": -9, "code": why})
    found = process(FakeRay(), file)
    heard(found)
    assert (found.end(), found.starved()) == (-9, starved)


def test_a_node_that_is_away_for_a_moment_is_not_lost(file: Path) -> None:
    ray = FakeRay("away")
    found = process(ray, file)
    assert found.hear(0) == b""
    ray.state = "alive"
    say(file, {"kind": "done"}, ENDED)
    assert heard(found) == ["done"]


def test_a_server_that_starts_again_hears_no_checkpoint_that_it_knows(file: Path) -> None:
    say(file, *({"kind": "saved", "step": step, "total": 9} for step in (3, 6, 9)), {"kind": "done"}, ENDED)
    assert heard(RayProcess(FakeRay(), None, file, stays=True, heard=6)) == ["saved", "done"]


def test_a_job_that_waits_for_a_place_says_so_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_WAITS", 0.0)
    found = process(FakeRay("waiting"), file, wish="cpus 64, gpus 0")
    told = [found.hear(0) for _ in range(3)]
    assert json.loads(told[0] or b"")["message"] == "Waits for a place in the cluster: cpus 64, gpus 0."
    assert told[1:] == [b"", b""]


@pytest.mark.parametrize("stays", [True, False])
def test_a_job_is_left_to_a_cluster_that_stays(file: Path, stays: bool) -> None:
    ray = FakeRay()
    found = process(ray, file, stays=stays)
    assert found.leave() == stays
    found.end()
    assert (ray.state == "alive", file.exists()) == (stays, stays)


@pytest.mark.parametrize("several", [True, False])
def test_several_workers_are_let_go_of_before_their_actor_is_killed(file: Path, several: bool) -> None:
    ray = FakeRay()
    process(ray, file, several=several).end()
    assert ray.state == "dead"
    assert ("give_up" in ray.asked) == several


def test_a_job_that_waits_for_a_place_is_asked_for_again_by_a_server_that_starts_again(
    joined: FakeCluster, tmp_path: Path
) -> None:
    order = order_of(tmp_path)
    for _ in range(2):
        RayExecutor(tmp_path, "auto").start(order, CLUSTER)
        assert [each.job_id for each in joined.ordered] == [order.job_id]
    assert [each["name"] for each in joined.made] == [order.job_id]


def test_a_job_that_ended_while_no_server_ran_is_only_heard(joined: FakeCluster, tmp_path: Path) -> None:
    order = order_of(tmp_path)
    say(order.workdir / "told.jsonl", {"kind": "done"}, ENDED)
    assert heard(RayExecutor(tmp_path, "auto").start(order, CLUSTER)) == ["done"]
    assert (joined.made, joined.ordered) == ([], [])


def test_what_others_left_is_ended_without_holding_up_the_server_and_before_it_is_begun_anew(
    joined: FakeCluster, tmp_path: Path
) -> None:
    order = order_of(tmp_path)
    RayExecutor(tmp_path, "auto").start(order, CLUSTER)
    again = RayExecutor(tmp_path, "auto")
    again.keep_only(())
    assert joined.state == "waiting"  # for what it was asked
    joined.state = "alive"
    (order.workdir / "told.jsonl").unlink()
    again.start(order, CLUSTER)
    assert (joined.asked.count("give_up"), len(joined.made), len(joined.ordered)) == (1, 2, 1)


def test_a_server_that_ends_waits_for_nobody(joined: FakeCluster, tmp_path: Path) -> None:
    RayExecutor(tmp_path, "auto").start(order_of(tmp_path), CLUSTER)
    again = RayExecutor(tmp_path, "auto")
    again.keep_only(())
    again.close()
    assert (joined.state, joined.asked[-1]) == ("waiting", "shutdown")


def test_what_another_server_has_begun_anew_is_left_to_it(joined: FakeCluster, tmp_path: Path) -> None:
    order = order_of(tmp_path)
    file = order.workdir / "told.jsonl"
    ours = RayExecutor(tmp_path, "auto").start(order, CLUSTER)
    assert ours.hear(0) == b""
    joined.state = "dead"
    file.unlink()
    theirs = RayExecutor(tmp_path, "auto").start(order, CLUSTER)
    ours.end()
    assert file.exists()
    theirs.end()
    assert not file.exists()


def test_a_job_gets_a_gpu_where_nodes_with_some_have_joined_after_the_server(
    joined: FakeCluster, tmp_path: Path
) -> None:
    executor = RayExecutor(tmp_path, "auto")
    joined.gpus = 8
    executor.start(order_of(tmp_path), CLUSTER)
    assert joined.made[0]["num_gpus"] == 1
    assert joined.ordered[0].entry.resources.gpus == 1


def test_a_job_whose_model_says_how_many_gpus_gets_them(joined: FakeCluster, tmp_path: Path) -> None:
    joined.gpus = 8
    RayExecutor(tmp_path, "auto").start(order_of(tmp_path, resources={"gpus": 0.5}), CLUSTER)
    assert joined.made[0]["num_gpus"] == 0.5


def test_asked_to_stop_the_actor_is(file: Path) -> None:
    ray = FakeRay()
    process(ray, file).tell("stop")
    assert ray.asked == ["ping", "request_stop"]


def test_asked_to_end_without_a_word_the_actor_is(file: Path) -> None:
    ray = FakeRay()
    process(ray, file).tell("drop")
    assert ray.asked == ["ping", "drop"]


def test_the_actor_hears_which_checkpoint_was_recorded(file: Path) -> None:
    ray = FakeRay()
    process(ray, file).tell("kept 6")
    assert ray.asked == ["ping", "keep 6"]


def test_without_ray_the_command_that_installs_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtra) as caught:
        RayExecutor(tmp_path, None)
    assert "pip install 'finetune-reconciler[ray]'" in caught.value.hint


def test_an_address_where_no_cluster_is_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    with kept_port() as port, pytest.raises(UsageError, match=f"no Ray cluster at 127.0.0.1:{port}"):
        RayExecutor(tmp_path, f"127.0.0.1:{port}")


@pytest.mark.parametrize("address", ["cluster", "10.0.0.1", ":6379", "10.0.0.1:ray"])
def test_an_address_that_is_none_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    with pytest.raises(UsageError, match="is no address of a Ray cluster") as caught:
        RayExecutor(tmp_path, address)
    assert caught.value.hint == "Use HOST:PORT, or auto."


@pytest.mark.parametrize(
    ("address", "error", "words", "hint"),
    [
        (
            "auto",
            ConnectionError("Set the `--address` flag."),
            "This machine is no node of a Ray",
            "join one first: ray",
        ),
        ("auto", RayError("No token was found. See Ray's pages."), "cluster at auto cannot be joined", "No token was"),
        (None, RayError("No room. See Ray's pages."), "Ray cannot be started here", "No room."),
    ],
)
def test_a_cluster_that_cannot_be_joined_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str | None, error: Exception, words: str, hint: str
) -> None:
    def init(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init, exceptions=SimpleNamespace(RayError=RayError)))
    with pytest.raises(UsageError, match=words) as caught:
        RayExecutor(tmp_path, address)
    assert hint in caught.value.hint
    assert ("RAY_AUTH_MODE" in caught.value.hint) == ("cannot be joined" in words)
    assert "pages" not in caught.value.hint


@pytest.mark.parametrize("placement", [Placement("ray", gpus="2"), Placement("local", ray_address="127.0.0.1:6379")])
def test_settings_that_do_not_go_together_are_refused(placement: Placement, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("reconciler.server.trainers.trl.trainer._NEEDED", ())
    (tmp_path / "models.yaml").write_text("models: {m: {path: .}}")
    with pytest.raises(UsageError, match=r"Ray address|cluster"):
        TrlTrainer.start(TrainerOptions(tmp_path, placement=placement))
