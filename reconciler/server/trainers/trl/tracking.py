"""Weights & Biases: shows a run as it goes, and can never hold it up or fail it.

All of it happens in a thread of its own. Without a key a run is written to the server's disk, to be sent later.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

_INIT_SECONDS = 30
_FINISH_SECONDS = 30.0

Numbers = tuple[int, Mapping[str, float]]


class Tracker:
    """Shows one run in every place that the job names. ``note`` is told where, or why not."""

    def __init__(
        self,
        integrations: Sequence[Mapping[str, Any]],
        *,
        run_id: str,
        config: Mapping[str, Any],
        directory: Path,
        note: Callable[[str], None],
    ) -> None:
        self._places = [each["wandb"] for each in integrations if each["type"] == "wandb"]
        self._run_id = run_id
        self._config = dict(config)
        self._directory = directory
        self._note = note
        self._steps: queue.SimpleQueue[Numbers | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        if self._places:
            self._thread.start()

    def show(self, step: int, numbers: Mapping[str, float]) -> None:
        """Pass on the numbers of a step."""
        self._steps.put((step, numbers))

    def finish(self) -> None:
        """Pass on what is left, for as long as half a minute."""
        self._steps.put(None)
        if self._places:
            self._thread.join(_FINISH_SECONDS)

    def _work(self) -> None:
        try:
            runs = [self._begin(place) for place in self._places]
            while (numbers := self._steps.get()) is not None:
                for run in runs:
                    run.log(dict(numbers[1]), step=numbers[0])
            for run in runs:
                run.finish()
        except BaseException as error:  # noqa: BLE001 - whatever it is, training goes on
            words = " ".join(str(error).split())[:200]
            self._note(f"Weights & Biases does not follow this run: {type(error).__name__}: {words}")

    def _begin(self, place: Mapping[str, Any]) -> Any:  # noqa: ANN401 - wandb is not imported here
        import wandb  # noqa: PLC0415 - what it raises is caught

        self._directory.mkdir(parents=True, exist_ok=True)
        mode = os.environ.get("WANDB_MODE") or ("online" if wandb.api.api_key else "offline")
        run = wandb.init(
            project=place["project"],
            entity=place.get("entity"),
            name=place.get("name"),
            tags=place.get("tags"),
            id=self._run_id,
            config=self._config,
            dir=str(self._directory),
            mode=mode,
            resume="allow" if mode == "online" else None,
            reinit="create_new",
            settings=wandb.Settings(init_timeout=_INIT_SECONDS, console="off"),
        )
        if mode == "online":
            self._note(f"Weights & Biases shows this run: {run.url}")
        elif mode == "offline":
            self._note(f"Weights & Biases has no key here: `wandb sync {Path(run.dir).parent}` sends this run.")
        return run
