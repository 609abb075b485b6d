"""The same training by the API: ``ask_server.py URL ROWS.jsonl SETTINGS``. Prints the model that was made."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import openai
from openai.types.fine_tuning import SupervisedHyperparametersParam as SupervisedHyperparameters


def main() -> None:
    """Upload, create a job, wait for its end."""
    url, rows, settings = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    with openai.OpenAI(base_url=url, api_key="none") as client:
        file = client.files.create(file=rows, purpose="fine-tune")
        hyperparameters: SupervisedHyperparameters = {
            "n_epochs": settings["n_epochs"],
            "batch_size": settings["batch_size"],
            "learning_rate_multiplier": 1.0,
        }
        job = client.fine_tuning.jobs.create(
            model="smollm2-135m",
            training_file=file.id,
            seed=7,
            method={"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},
        )
        while job.status not in {"succeeded", "failed", "cancelled"}:
            time.sleep(0.2)
            job = client.fine_tuning.jobs.retrieve(job.id)
    if job.status != "succeeded":
        raise SystemExit(f"The job {job.status}: {job.error}")
    print(job.fine_tuned_model)


if __name__ == "__main__":
    main()
