"""Runs in the real TensorBoard and a real MLflow: the numbers are the job's own, stopped and killed or not."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from ports import kept_port
from tiny import needs_engine, tiny_model
from training import HOLDING, Bench, hold, let_go, numbers

from reconciler.server.trainers.base import Control, Note, Progress, Saved, Trained, TrainingRun
from reconciler.server.trainers.trl.tracking.settings import MlflowTarget, parse

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    needs_engine,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("tensorboard", "mlflow", "alembic", "flask_cors")),
        reason="needs what shows runs: pip install -e '.[train,mlflow,tensorboard]' flask flask-cors",
    ),
]
METADATA = {"reconciler.name": "triage", "reconciler.owner": "github.com/acme/models", "reconciler.revision": "ab12.1"}
PASSWORD = "open-sesame-1"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "120")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", HOLDING)


@pytest.fixture
def bench(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Bench:
    return Bench(tmp_path, tiny_model(tmp_path_factory))


def tracked(bench: Bench, *words: str) -> TrainingRun:
    """A run of 6 steps that is shown in these places."""
    bench.trainer._track = parse(words, bench.directory / "tracking", {})
    return replace(bench.run(), metadata=METADATA)


class MlflowServer:
    """A real server, asked over HTTP."""

    def __init__(self, directory: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._log = directory / "mlflow.log"
        place = ["--backend-store-uri", f"sqlite:///{directory}/server.db", "--port", str(port)]
        own = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *place, "--workers", "1"],
                cwd=directory, env={**os.environ, **own}, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def wait(self) -> None:
        deadline = time.monotonic() + 600
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/health").status_code == 200:
                    return
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def end(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(30)

    def ask(self, method: str, path: str, **body: Any) -> Any:
        given: dict[str, Any] = {"json": body} if method == "POST" else {"params": body}
        answer = httpx.request(method, f"{self.url}/api/2.0/mlflow/{path}", timeout=60, **given)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def run(self) -> dict[str, Any]:
        """The one run of the owner's experiment."""
        experiment = self.ask("GET", "experiments/get-by-name", experiment_name=METADATA["reconciler.owner"])
        found = self.ask("POST", "runs/search", experiment_ids=[experiment["experiment"]["experiment_id"]])
        (run,) = found["runs"]
        assert isinstance(run, dict)
        return run

    def curves(self, run: Mapping[str, Any]) -> dict[int, dict[str, float]]:
        """All that was logged of every step, each once."""
        found: dict[int, dict[str, float]] = {}
        for name in (metric["key"] for metric in run["data"]["metrics"]):
            history = self.ask(
                "GET", "metrics/get-history", run_id=run["info"]["run_id"], metric_key=name, max_results=100
            )
            for point in history["metrics"]:
                assert name not in found.setdefault(int(point["step"]), {}), "a step was logged twice"
                found[int(point["step"])][name] = point["value"]
        return found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MlflowServer]:
    with kept_port() as port:
        found = MlflowServer(tmp_path, port)
        yield found
        found.end()


READ = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
read = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0}).Reload()
print(json.dumps({name: [(each.step, each.value) for each in read.Scalars(name)] for name in read.Tags()["scalars"]}))
"""


def curves_of(directory: Path) -> dict[int, dict[str, float]]:
    """What TensorBoard reads of every step, each once."""
    said = python(READ, str(directory))
    found: dict[int, dict[str, float]] = {}
    for name, points in json.loads(said).items():
        for step, value in points:
            assert name not in found.setdefault(step, {}), "a step was written twice"
            found[step][name] = value
    return found


def python(program: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def notes(progress: list[Progress]) -> list[str]:
    return [each.message for each in progress if isinstance(each, Note)]


def after_notes(count: int, then: Callable[[Control], None]) -> Callable[[Progress, Control], None]:
    """Do something once a run that is held has said so, and each service whether it shows it."""
    found: list[Progress] = []

    def look(progress: Progress, control: Control) -> None:
        if isinstance(progress, Note):
            found.append(progress)
            if len(found) == count:
                then(control)

    return look


def test_a_run_that_is_stopped_and_goes_on_is_one_run_with_the_jobs_numbers(
    server: MlflowServer, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    with kept_port() as port:  # where nobody listens
        run = tracked(bench, f"mlflow=http://127.0.0.1:{port}", "tensorboard")
        hold(tmp_path, 4)
        first = bench.train(run, after_notes(3, Control.stop))
    failed, shown, _ = sorted(notes(first))
    words = "does not follow this run: ConnectionRefusedError: [Errno 111] Connection refused"
    assert failed == f"MLflow at http://127.0.0.1:{port} {words}"
    runs = tmp_path / "tracking" / "tensorboard"
    assert shown == f"TensorBoard: `tensorboard --logdir {runs}` shows this run as triage-ftjob-x."
    # As after a kill: what was saved last is the first epoch's end, so two steps are done again.
    assert list(numbers(first)) == [1, 2, 3, 4, 5]
    epoch = next(each.state for each in first if isinstance(each, Saved))
    server.wait()
    tracked(bench, f"mlflow={server.url}", "tensorboard")
    second = bench.train(replace(run, state=epoch), after_notes(3, lambda _: let_go(tmp_path)))
    assert isinstance(second[-1], Trained)
    assert list(numbers(second)) == [4, 5, 6]
    said = numbers(first) | numbers(second)
    ended = server.run()
    assert server.curves(ended) == said
    place = f"{server.url}/#/experiments/{ended['info']['experiment_id']}/runs/{ended['info']['run_id']}"
    assert f"MLflow shows this run: {place}" in notes(second)
    assert (ended["info"]["run_name"], ended["info"]["status"]) == ("triage", "FINISHED")
    tags = {pair["key"]: pair["value"] for pair in ended["data"]["tags"]}
    assert METADATA.items() | {("reconciler.job", run.job_id)} <= tags.items()
    settings = {pair["key"]: pair["value"] for pair in ended["data"]["params"]}
    assert (settings["base"], settings["seed"], settings["hyperparameters.n_epochs"]) == ("tiny", "3", "2")
    read = curves_of(runs / "triage-ftjob-x")
    assert read == {step: pytest.approx(metrics) for step, metrics in said.items()}
    written = [path for place in ("work", "tracking") for path in (tmp_path / place).rglob("*") if path.is_file()]
    assert not any(PASSWORD.encode() in path.read_bytes() for path in written)


TRACK = """
import json, sys
from mlflow import MlflowClient
from reconciler.server.trainers.trl.tracking.mlflow import Mlflow
from reconciler.server.trainers.trl.tracking.service import Run
from reconciler.server.trainers.trl.tracking.settings import MlflowTarget
from reconciler.server.trainers.trl.tracking import tracker as tracking
from reconciler.server.trainers.trl.tracking.tracker import Tracker
tracking._FINISH_SECONDS = 600  # however slow a machine is
uri, job_id = sys.argv[1:]
client = None
for status, history, steps in (
    ("killed", {}, (1, 2)), ("failed", {1: {"train_loss": 1.0}}, (2, 3)), ("finished", {1: {"train_loss": 1.0}}, (4,))
):
    run = Run(job_id, {"seed": 1, "beta": {"of": 0.5}}, {"a b?": "c", "mlflow.runName": "other"}, 0, history)
    tracker = Tracker([Mlflow(MlflowTarget(uri=uri), run)], lambda words: print(words, file=sys.stderr))
    for step in steps:
        tracker.show(step, {"train_loss": 1.0 / step, "rewards/chosen": step})
    tracker.finish(status)
    client = client or MlflowClient(tracking_uri=uri)
    owned = client.get_experiment_by_name("reconciler").experiment_id
    (found,) = client.search_runs([owned], f"tags.`reconciler.job` = '{job_id}'")
    seen = sorted(each.step for each in client.get_metric_history(found.info.run_id, "train_loss"))
    print(json.dumps([found.info.run_id, found.info.status, found.info.run_name, seen]))
print(json.dumps([found.data.params, found.data.tags["a b_"]]))
"""


def test_a_database_of_ones_own_keeps_one_run_a_job_however_often_it_ends(tmp_path: Path) -> None:
    (target,) = parse(["mlflow"], tmp_path / "tracking", {})
    assert isinstance(target, MlflowTarget)
    # Two jobs find no database yet, and make it.
    with ThreadPoolExecutor() as pool:
        said = list(pool.map(lambda job_id: python(TRACK, str(target.uri), job_id), ["ftjob-x", "ftjob-y"]))
    for job_id, lines in zip(["ftjob-x", "ftjob-y"], said, strict=True):
        first, second, third, last = map(json.loads, lines.splitlines()[-4:])
        assert first[1:] == ["KILLED", job_id, [1, 2]]
        assert second == [first[0], "FAILED", job_id, [1, 2, 3]]
        assert third == [first[0], "FINISHED", job_id, [1, 2, 3, 4]]
        assert last == [{"seed": "1", "beta.of": "0.5"}, "c"]
