"""The same training by the API: ``ask_server.py URL MODEL ROWS.jsonl SETTINGS``.

Prints the model that was made, and what was noted, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import openai
from noted import Noted
from openai.types.fine_tuning import SupervisedHyperparametersParam as SupervisedHyperparameters

_EVERY = 0.2


def main() -> None:
    """Upload, create a job, wait for its end."""
    url, model, rows, settings = sys.argv[1], sys.argv[2], Path(sys.argv[3]), json.loads(sys.argv[4])
    with Noted() as noted, openai.OpenAI(base_url=url, api_key="none") as client:
        file = client.files.create(file=rows, purpose="fine-tune")
        hyperparameters: SupervisedHyperparameters = {
            "n_epochs": settings["n_epochs"],
            "batch_size": settings["batch_size"],
            "learning_rate_multiplier": 1.0,
        }
        job = client.fine_tuning.jobs.create(
            model=model,
            training_file=file.id,
            seed=7,
            method={"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},
        )
        while job.status not in {"succeeded", "failed", "cancelled"}:
            time.sleep(_EVERY)
            job = client.fine_tuning.jobs.retrieve(job.id)
            for event in client.fine_tuning.jobs.list_events(job.id, limit=5).data:
                if event.type == "metrics" and isinstance(event.data, dict):
                    noted.step(event.data["step"])
                    break
    if job.status != "succeeded":
        raise SystemExit(f"The job {job.status}: {job.error}")
    print(json.dumps({"model": job.fine_tuned_model, **noted.facts(job.trained_tokens or 0)}))


if __name__ == "__main__":
    main()
