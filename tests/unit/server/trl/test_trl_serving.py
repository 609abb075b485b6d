"""The server that trains for real, as a process of its own, through the openai client."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import openai
import pytest
from hub import TOKEN, hub
from openai.types.fine_tuning import FineTuningJob
from pydantic import BaseModel
from tiny import needs_engine, tiny_model
from training import HELD_UP, HOLDING, hold, let_go, rows

from reconciler.server.trainers.trl.dialogue import DEFAULT_TEMPLATE
from reconciler.server.trainers.trl.shelf import slug

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), needs_engine]
CONVERTER = Path(__file__).with_name("fake_converter.py")
CATALOGUE = """
models:
  tiny:
    path: {path}
    chat_template: chat.jinja
    context: 128
    answer: 8
    lora: {{rank: 8}}
    learning_rate: {{supervised: 0.01, dpo: 0.01, reinforcement: 0.01}}
"""


class Served:
    """A server on a directory, with a client. ``kill`` ends it as a power cut would."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.options = options
        self.client = openai.OpenAI(api_key="none", base_url="http://unused", max_retries=2)
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "reconciler", "serve", "--trainer", "trl", "--port", "0"]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
        environment = {**kept, "OMP_NUM_THREADS": "1", "HOME": str(self.directory), "PYTHONPATH": HOLDING}
        self._process = subprocess.Popen(
            [*command, "--directory", str(self.directory), *self.options],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("Serving http"), line
        self.client = self.client.with_options(base_url=line.split()[1])

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)
        self._process.wait(120)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def create(self, count: int = 12, **body: Any) -> FineTuningJob:
        text = "".join(json.dumps(row) + "\n" for row in rows("supervised", count))
        file = self.client.files.create(file=("train.jsonl", io.BytesIO(text.encode())), purpose="fine-tune")
        return self.client.fine_tuning.jobs.create(**{"model": "tiny", "training_file": file.id, "seed": 1, **body})

    def reach(self, job: FineTuningJob, look: Callable[[FineTuningJob], bool], seconds: float = 600) -> FineTuningJob:
        deadline = time.monotonic() + seconds
        while not look(job := self.client.fine_tuning.jobs.retrieve(job.id)):
            assert job.status in {"validating_files", "queued", "running", "paused"}, job.error
            assert time.monotonic() < deadline, job.status
            time.sleep(0.1)
        return job

    def finish(self, job: FineTuningJob) -> FineTuningJob:
        return self.reach(job, lambda job: job.status == "succeeded")

    def events(self, job: FineTuningJob) -> list[str]:
        return [event.message for event in self.client.fine_tuning.jobs.list_events(job.id, limit=100)]

    def reach_hold(self, job: FineTuningJob) -> None:
        """Wait until a job's training is held."""
        self.reach(job, lambda job: HELD_UP.message in self.events(job))


def write_catalogue(directory: Path, model: Path) -> None:
    """Write what a server is to train, into its directory."""
    (directory / "chat.jinja").write_text(DEFAULT_TEMPLATE + "{# ours #}")
    (directory / "models.yaml").write_text(CATALOGUE.format(path=model))


@pytest.fixture
def served(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    write_catalogue(tmp_path, tiny_model(tmp_path_factory))
    server = Served(tmp_path)
    with contextlib.closing(server.client):
        yield server
        server.end()


def method(**given: Any) -> Any:
    return {"type": "supervised", "supervised": {"hyperparameters": given}}


def test_a_job_outlives_its_server_and_what_it_made_is_used(served: Served) -> None:
    hold(served.directory, 15)
    job = served.create(count=40, method=method(n_epochs=50, batch_size=4))
    served.reach_hold(job)
    served.end(signal.SIGKILL)
    let_go(served.directory)
    served.start()
    job = served.finish(job)
    assert job.trained_tokens
    assert job.fine_tuned_model in {model.id for model in served.client.models.list()}
    events = served.client.fine_tuning.jobs.list_events(job.id, limit=100)
    steps = [event.data["step"] for event in events if event.type == "metrics"]  # type: ignore[index]
    assert sorted(steps) == list(range(1, 501))
    results = served.client.files.content(job.result_files[0]).text
    assert results.splitlines()[0] == "step,train_loss,train_mean_token_accuracy"
    assert len(results.splitlines()) == 501
    assert len(served.client.fine_tuning.jobs.checkpoints.list(job.id).data) == 3


def test_what_the_catalogue_does_not_have_is_refused(served: Served) -> None:
    assert [model.id for model in served.client.models.list()] == ["tiny"]
    with pytest.raises(openai.BadRequestError, match="which has tiny") as caught:
        served.create(model="tinny")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


class Opinion(BaseModel):
    """What an answer is held to."""

    said: Literal["yes", "no"]
    sure: bool


PROGRAM = """
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer
place = sys.argv[1]
model, tokenizer = AutoModelForCausalLM.from_pretrained(place), AutoTokenizer.from_pretrained(place)
asked = [{"role": "user", "content": "what is 5 plus two"}]
read = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
made = model.generate(**read, do_sample=False, max_new_tokens=8)
print(tokenizer.decode(made[0, read["input_ids"].shape[1]:], skip_special_tokens=True))
"""


def command(served: Served, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "reconciler", "models", "export", *words, "--directory", str(served.directory)]
    return subprocess.run(line, env={**os.environ, **env}, capture_output=True, text=True, check=False)


def answer_of(place: str, **env: str) -> str:
    """Return what whole weights answer by themselves."""
    words = [sys.executable, "-c", PROGRAM, place]
    return subprocess.run(words, env={**os.environ, **env}, capture_output=True, text=True, check=True).stdout.strip()


def exported(served: Served, model: str) -> Path:
    """Export a model into a directory, as GGUF too."""
    target, gguf = served.directory / "out", f"{slug(model)}.gguf"
    words = [model, "--to", str(target), "--gguf", "f16", "--gguf-converter", str(CONVERTER)]
    said = command(served, *words)
    assert said.returncode == 0, said.stderr
    assert said.stdout == f"{model} is in {target}: Modelfile, README.md, adapter, {gguf}, merged\n"
    assert (target / "merged" / "chat_template.jinja").read_text().endswith("{# ours #}")
    card = (target / "README.md").read_text()
    assert "sha256" in card
    assert "train_loss" in card
    adapter = json.loads((target / "adapter" / "adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == "tiny"
    told = (target / "Modelfile").read_text().splitlines()
    assert (told[0], told[2]) == (f"FROM ./{gguf}", "{{ .Content }}<|im_end|>")
    assert len({file.stat().st_mode for file in target.rglob("*") if file.is_file()}) == 1, "all may be read by all"
    assert "is not empty" in command(served, *words).stderr
    return target / "merged"


def published(served: Served, model: str, merged: Path) -> str:
    """Export a model to a hub; return what it answers, loaded from there by its name."""
    with hub() as there:
        home = {"HF_ENDPOINT": there.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(served.directory / "hf")}
        said = command(served, model, "--to", "hf://acme/taught", HF_TOKEN=TOKEN, **home)
        assert not said.stderr
        commit = f"{there.url}/acme/taught/commit/{there.head('acme/taught')}"
        assert said.stdout == f"{model} is in hf://acme/taught: {commit}\n"
        held = there.repos["acme/taught"].files() or {}
        whole = {path.name: path.read_bytes() for path in merged.iterdir()}
        others = {".gitattributes", "README.md", "adapter/adapter_config.json", "adapter/adapter_model.safetensors"}
        assert set(held) == {*whole, *others}
        assert {name: held[name] for name in whole} == whole
        assert not (served.directory / "export").exists()
        return answer_of("acme/taught", HF_TOKEN=TOKEN, **home)


def test_what_was_trained_answers_as_it_was_taught(served: Served) -> None:
    wandb: Any = {"type": "wandb", "wandb": {"project": "p", "entity": "acme", "name": "n", "tags": ["a", "b"]}}
    teach = method(n_epochs=8, batch_size=4, learning_rate_multiplier=1.0)
    hold(served.directory, 1)
    job = served.create(method=teach, integrations=[wandb])
    served.reach(job, lambda job: any("Weights & Biases" in words for words in served.events(job)))
    let_go(served.directory)
    job = served.finish(job)
    assert job.integrations
    assert job.integrations[0].wandb.model_dump()["run_id"] == job.id
    # Without a key the run is on the server's disk, under the job's id.
    (run,) = (served.directory / "tracking" / "wandb").glob("offline-run-*")
    assert run.name.endswith(job.id)
    assert list(run.glob("*.wandb"))
    (served.directory / "chat.jinja").unlink()  # what it was trained with is in its card
    tuned = str(job.fine_tuned_model)
    asked: list[Any] = [{"role": "user", "content": "what is 5 plus two"}]

    def ask(model: str, **more: Any) -> Any:
        return served.client.chat.completions.create(model=model, messages=asked, temperature=0, **more)

    first, again = ask("tiny", max_tokens=6), ask(tuned)
    assert (again.choices[0].message.content, again.choices[0].finish_reason) == ("yes", "stop")
    assert first.choices[0].message.content != "yes"
    assert first.choices[0].finish_reason == "length"
    assert first.usage.completion_tokens == 6
    assert ask("tiny", max_tokens=6).choices == first.choices, "an adapter must not change its base"
    checkpoint = served.client.fine_tuning.jobs.checkpoints.list(job.id).data[0].fine_tuned_model_checkpoint
    assert ask(checkpoint).choices[0].message.content == "yes"
    chunks = list(ask(tuned, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "yes"
    assert ask(tuned, stop=["e"]).choices[0].message.content == "y"
    sampled = [
        served.client.chat.completions.create(model="tiny", messages=asked, seed=4, max_tokens=6) for _ in range(2)
    ]
    assert sampled[0].choices == sampled[1].choices
    parsed = served.client.chat.completions.parse(model="tiny", messages=asked, response_format=Opinion, seed=1)
    assert isinstance(parsed.choices[0].message.parsed, Opinion)
    with served.client.chat.completions.stream(model=tuned, messages=asked, response_format=Opinion, seed=2) as stream:
        pieces = [event.delta for event in stream if event.type == "content.delta"]
        assert len(pieces) > 1
        assert Opinion.model_validate_json("".join(pieces)) == stream.get_final_completion().choices[0].message.parsed
    assert ask(tuned).choices[0].message.content == "yes", "the next answer is free again"
    with pytest.raises(openai.BadRequestError, match="reads at most 128"):
        served.client.chat.completions.create(model=tuned, messages=[{"role": "user", "content": "x " * 300}])
    merged = exported(served, tuned)
    assert answer_of(str(merged)) == published(served, tuned, merged) == "yes"
    served.client.models.delete(tuned)
    assert ask(checkpoint).choices[0].message.content == "yes", "the last checkpoint has the same weights"
    with pytest.raises(openai.NotFoundError):
        ask(tuned)
