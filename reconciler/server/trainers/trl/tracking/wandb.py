"""Weights & Biases, where a job names it. Without a key a run is written to the server's disk, to be sent later."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.server.trainers.trl.tracking.service import LOADING, Run, Shown, Status

_INIT_SECONDS = 30


class Wandb:
    """A run there, by the job's id. ``place`` is what the job says, as the API has it."""

    retries = False
    title = "Weights & Biases"

    def __init__(self, place: Mapping[str, Any], run: Run, directory: Path) -> None:
        self._place = place
        self._job = run
        self._directory = directory
        self._run: Any = None

    def begin(self) -> str:
        """Open the run."""
        with LOADING:
            import wandb  # noqa: PLC0415 - what it raises is caught

        self._directory.mkdir(parents=True, exist_ok=True)
        mode = os.environ.get("WANDB_MODE") or ("online" if wandb.api.api_key else "offline")
        self._run = wandb.init(
            project=self._place["project"],
            entity=self._place.get("entity"),
            name=self._place.get("name"),
            tags=self._place.get("tags"),
            id=self._job.job_id,
            config={**self._job.settings, "metadata": dict(self._job.metadata)},
            dir=str(self._directory),
            mode=mode,
            resume="allow" if mode == "online" else None,
            reinit="create_new",
            settings=wandb.Settings(init_timeout=_INIT_SECONDS, console="off"),
        )
        if mode == "online":
            return f"Weights & Biases shows this run: {self._run.url}"
        if mode == "offline":
            return f"Weights & Biases has no key here: `wandb sync {Path(self._run.dir).parent}` sends this run."
        return ""

    def log(self, steps: Sequence[Shown]) -> None:
        """Show steps."""
        for shown in steps:
            self._run.log(dict(shown.metrics), step=shown.step)

    def finish(self, status: Status) -> None:
        """Send what is left. There a run has failed or not: one that was stopped has not."""
        self._run.finish(exit_code=1 if status == "failed" else 0)
