"""MLflow, where the server's owner names it: a server, or a database file. Its own variables hold its keys."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from reconciler.server import lifecycle
from reconciler.server.trainers.trl.tracking.service import LOADING, Run, Shown, Status
from reconciler.server.trainers.trl.tracking.settings import (
    EXPERIMENT_VARIABLE,
    PASSWORD_VARIABLE,
    SQLITE,
    URI_VARIABLE,
    USER_VARIABLE,
    MlflowTarget,
)

JOB = "reconciler.job"
"""The tag by which a job that goes on finds its run again."""
_EXPERIMENT = "reconciler"
_BATCH = 1000
"""How many numbers MLflow takes at once."""
_BOUNDS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Its own way with a server that is away is to ask for minutes: here it is asked again later, and meanwhile let go."""


class Mlflow:
    """One run there, found by the job's id."""

    retries = True

    def __init__(self, target: MlflowTarget, run: Run) -> None:
        self._uri = target.uri or _from_environment()
        self._job = run
        self._client: Any = None
        self._run_id = ""
        self._known: set[int] = set()

    @property
    def title(self) -> str:
        """With the address of a server, which holds no key."""
        return f"MLflow at {self._uri}" if self._is_server else "MLflow"

    @property
    def _is_server(self) -> bool:
        return self._uri.startswith(("http://", "https://"))

    def begin(self) -> str:
        """Find the job's run, or else make one."""
        if not self._uri:
            raise LookupError(f"{URI_VARIABLE} is not set where the job trains")
        with LOADING:
            for name, value in _BOUNDS.items():
                os.environ.setdefault(name, value)
            from mlflow import MlflowClient  # noqa: PLC0415 - loads for seconds
            from mlflow.entities import Param  # noqa: PLC0415

        with self._alone():
            client = self._client = MlflowClient(tracking_uri=self._uri)
        experiment = self._experiment()
        found = client.search_runs([experiment], f"tags.`{JOB}` = '{self._job.job_id}'", max_results=1)
        if found:
            (run,) = found
            client.update_run(run.info.run_id, status="RUNNING")
        else:
            run = client.create_run(experiment, run_name=self._job.name, tags=self._tags())
        self._run_id = run.info.run_id
        self._known = {each.step for each in client.get_metric_history(self._run_id, "train_loss")}
        facts = {_name(name): str(value)[:6000] for name, value in self._job.facts.items()}
        new = [Param(name, value) for name, value in facts.items() if name not in run.data.params]
        client.log_batch(self._run_id, params=new)
        self.log(self._job.past)
        return self._shown(experiment)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one job at a time make a file's tables: two that do it at once break each other's work."""
        if not self._uri.startswith(SQLITE):
            yield
            return
        file = Path(self._uri.removeprefix(SQLITE))
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock"):
            yield

    def _experiment(self) -> str:
        """Find the experiment, or make it: MLflow's own variable names it, else it is the owner's."""
        name = os.environ.get(EXPERIMENT_VARIABLE) or self._job.metadata.get(lifecycle.OWNER) or _EXPERIMENT
        if found := self._client.get_experiment_by_name(name):
            return str(found.experiment_id)
        artifacts = None
        if self._uri.startswith(SQLITE):
            artifacts = Path(self._uri.removeprefix(SQLITE)).with_name("mlflow-artifacts").as_uri()
        try:
            return str(self._client.create_experiment(name, artifact_location=artifacts))
        except Exception:
            if found := self._client.get_experiment_by_name(name):  # another job made it just now
                return str(found.experiment_id)
            raise

    def _tags(self) -> dict[str, str]:
        told = {_name(key): value for key, value in self._job.metadata.items() if not key.startswith("mlflow.")}
        return told | {JOB: self._job.job_id, "mlflow.source.name": "reconciler"}

    def _shown(self, experiment: str) -> str:
        if self._is_server:
            return f"MLflow shows this run: {self._uri}/#/experiments/{experiment}/runs/{self._run_id}"
        if self._uri.startswith(SQLITE):
            return f"MLflow: `mlflow ui --backend-store-uri {self._uri}` shows this run as {self._job.name}."
        return f"MLflow shows this run, {self._run_id}, as {self._job.name}."

    def log(self, steps: Sequence[Shown]) -> None:
        """Show steps, but those that are there: a run that was killed repeats some, to the same numbers."""
        from mlflow.entities import Metric  # noqa: PLC0415 - it is loaded

        new = [shown for shown in steps if shown.step not in self._known]
        metrics = [
            Metric(_name(name), value, int(shown.at * 1000), shown.step)
            for shown in new
            for name, value in shown.metrics.items()
        ]
        for at in range(0, len(metrics), _BATCH):
            self._client.log_batch(self._run_id, metrics=metrics[at : at + _BATCH])
        self._known.update(shown.step for shown in new)

    def finish(self, status: Status) -> None:
        """Say how it ended; one that was stopped and goes on is running again then."""
        self._client.set_terminated(self._run_id, status.upper())


def _name(name: str) -> str:
    """Return a name that MLflow takes."""
    return re.sub(r"[^\w\-. /:]", "_", name)[:250]


def _from_environment() -> str:
    """Return MLflow's own variable for its address. A user and password in one of a server go where MLflow has them."""
    uri = os.environ.get(URI_VARIABLE, "")
    parts = urlsplit(uri)
    if parts.scheme not in {"http", "https"} or "@" not in parts.netloc:
        return uri
    for name, value in ((USER_VARIABLE, parts.username), (PASSWORD_VARIABLE, parts.password)):
        os.environ.setdefault(name, unquote(value or ""))
    clean = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    os.environ[URI_VARIABLE] = clean
    return clean.rstrip("/")
