"""What an edited catalogue changes of a model that was made before: nothing of what it is."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_trl_trainer import BEGAN, DONE, FAKE, PROCESSORS, job, refused, saved

from reconciler.errors import UsageError
from reconciler.server.graders.grading import Graders
from reconciler.server.trainers.answers import AnswerRefused, End, Question
from reconciler.server.trainers.base import Control, JobRefused, Note, Progress, Saved, TrainingFailed, TrainingRun
from reconciler.server.trainers.trl import shelf
from reconciler.server.trainers.trl.catalogue import Catalogue, Entry, Lora, Rates, Resources, load_catalogue
from reconciler.server.trainers.trl.executor import LocalExecutor
from reconciler.server.trainers.trl.trainer import TrlTrainer

PARENT = "ft:tiny:local::parent"
CHILD = "ft:tiny:local::child"
OLD = Entry(
    hub="acme/m", revision="a" * 40, dtype="float32", chat_template="{{ old }}", lora=Lora(rank=4), licence="MIT",
    reasoning_effort=True,
)  # fmt: skip
NEW = Entry(
    hub="acme/n", revision="b" * 40, dtype="bfloat16", chat_template="{{ new }}", lora=Lora(rank=8), context=4096,
    learning_rate=Rates(supervised=0.5), micro_batch=2, answer=99, generations=4, gradient_checkpointing=True,
    resources=Resources(cpus=3),
)  # fmt: skip
OWN = ("hub", "revision", "path", "package", "dtype", "chat_template", "lora", "licence", "reasoning_effort")
"""What a model keeps of the entry that it was made with."""


def asks_the_hub(test: Any) -> Any:
    """What a base needs is asked of the hub that has it: of one that stands in for it, by the real client."""
    missing = importlib.util.find_spec("huggingface_hub") is None
    skip = pytest.mark.skipif(missing, reason="needs the hub's client: pip install -e '.[train]'")
    return pytest.mark.slow(skip(pytest.mark.usefixtures("stand")(test)))


class Heard:
    """Stands where questions are asked, and keeps what the last was to be answered by."""

    def answer(self, _: Question, entry: Entry, weights: Path | None, __: str | None) -> Iterator[End]:
        self.entry, self.weights = entry, weights
        yield End("stop", 0, 0)


def now(directory: Path, entry: Entry = NEW) -> TrlTrainer:
    """A server whose catalogue says so."""
    return TrlTrainer(directory, Catalogue({"tiny": entry}), Graders(), LocalExecutor([PROCESSORS], FAKE), threads=1)


def made(directory: Path, entry: Entry = OLD, *, whole: bool = False, **card: Any) -> Path:
    """Put a model on the shelf that was made with an entry; return its weights."""
    weights = directory / "checkpoint"
    weights.mkdir(exist_ok=True)
    (weights / ("config.json" if whole else "adapter_config.json")).write_text("{}")
    place = shelf.Shelf(directory / "models").place(PARENT)
    shelf.publish(weights, place, 4, {"entry": entry.model_dump(mode="json"), **card})
    shelf.finish(place, 4)
    return shelf.step_directory(place, 4)


def run(directory: Path, starts: list[list[Any]], model: str = PARENT) -> TrainingRun:
    """A job on a model, whose processes do as is written down."""
    work = directory / "work"
    work.mkdir(exist_ok=True)
    (work / "script.json").write_text(json.dumps(starts))
    place = shelf.Shelf(directory / "models").place(CHILD)
    shelf.step_directory(place, 4).mkdir(parents=True, exist_ok=True)  # the weights that these processes do not make
    if not (place / "model.json").exists():
        (place / "model.json").write_text('{"final": null}')
    return TrainingRun(
        job_id="ftjob-x", model=model, output_model=CHILD, method="supervised",
        hyperparameters={"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 1.0}, settings={}, seed=1,
        training_file=Path("t"), training_sha256="a", validation_file=None, validation_sha256="", rows=8, tokens=800,
        workdir=work,
    )  # fmt: skip


def train(trainer: TrlTrainer, what: TrainingRun) -> tuple[list[Progress], Entry]:
    """Train to the end; return what happened, and what the last process was to train by."""
    found = list(trainer.train(what, Control()))
    order = json.loads((what.workdir / "order.1.json").read_text())
    assert order["card"]["entry"] == order["entry"], "the card says what it is trained by"
    return found, Entry.model_validate(order["entry"])


def begin(trainer: TrlTrainer, what: TrainingRun) -> bytes:
    """Train to the first checkpoint; return what the engine keeps of it."""
    control, state = Control(), b""
    for each in trainer.train(what, control):
        if isinstance(each, Saved):
            state = each.state
            control.stop()
    return state


def own(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in OWN}


def test_a_model_answers_by_what_it_was_made_with(tmp_path: Path) -> None:
    weights, trainer = made(tmp_path), now(tmp_path)
    heard = trainer._sampler = Heard()  # type: ignore[assignment]
    list(trainer.answer(Question(PARENT, [])))
    assert (own(heard.entry), heard.weights) == (own(OLD), weights)
    assert heard.entry.context == 4096, "how much it reads at once is the catalogue's to say"
    list(trainer.answer(Question("tiny", [])))
    assert (heard.entry, heard.weights) == (NEW, None)


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_a_whole_model_answers_as_one_whatever_the_catalogue_trains_now(tmp_path: Path, tuning: Any) -> None:
    weights = made(tmp_path, OLD.model_copy(update={"tuning": "full"}), whole=True)
    trainer = now(tmp_path, NEW.model_copy(update={"tuning": tuning}))
    heard = trainer._sampler = Heard()  # type: ignore[assignment]
    list(trainer.answer(Question(PARENT, [])))
    assert (heard.entry.tuning, heard.entry.hub, heard.weights) == ("full", "acme/m", weights)


@asks_the_hub
def test_a_job_goes_on_from_a_model_on_the_base_it_was_made_on(tmp_path: Path) -> None:
    made(tmp_path)
    found, entry = train(now(tmp_path), run(tmp_path, [[BEGAN, saved(4, 2), DONE]]))
    assert own(entry) == own(OLD)
    rest = set(Entry.model_fields) - set(OWN)
    assert {name: getattr(entry, name) for name in rest} == {name: getattr(NEW, name) for name in rest}
    notes = [each.message for each in found if isinstance(each, Note)]
    words = f"acme/m@{'a' * 40}, and so is this: the catalogue's acme/n@{'b' * 40} is for new models."
    assert notes == [f"{PARENT} was made on {words}"]
    card = json.loads((tmp_path / "work" / "order.1.json").read_text())["card"]
    assert (card["source"], card["licence"]) == (OLD.source, "MIT")


@pytest.mark.parametrize(
    ("entry", "whole", "tuning", "words"),
    [
        ("full", True, "lora", "is a whole model, and the catalogue now says tuning: lora for tiny"),
        ("full", True, "qlora", "Say tuning: full there again, start from tiny, or export"),
        ("lora", False, "full", "is an adapter, and the catalogue now says tuning: full for tiny"),
        ("qlora", False, "full", "Say tuning: lora or qlora there again"),
    ],
)
def test_an_adapter_on_a_whole_model_or_the_other_way_round_is_refused(
    tmp_path: Path, entry: Any, whole: bool, tuning: Any, words: str
) -> None:
    made(tmp_path, OLD.model_copy(update={"tuning": entry}), whole=whole)
    trainer = now(tmp_path, NEW.model_copy(update={"tuning": tuning}))
    error = refused(trainer, job(PARENT))
    assert (error.code, error.param) == ("model_not_available", "model")
    assert words in error.message
    assert len(error.message) < 250  # with longer names, too, a client shows all of it
    with pytest.raises(TrainingFailed) as caught:  # the catalogue was edited while it waited
        train(trainer, run(tmp_path, []))
    assert words in caught.value.message


@asks_the_hub
def test_what_did_not_change_is_taken_without_a_word(tmp_path: Path) -> None:
    full = OLD.model_copy(update={"tuning": "full"})
    made(tmp_path, full, whole=True)
    trainer = now(tmp_path, full)
    trainer.check(job(PARENT))
    found, entry = train(trainer, run(tmp_path, [[BEGAN, saved(4, 2), DONE]]))
    assert entry == full
    assert not [each for each in found if isinstance(each, Note)]


@asks_the_hub
def test_a_job_that_was_begun_goes_on_by_what_it_began_with(tmp_path: Path) -> None:
    state = begin(now(tmp_path, OLD), run(tmp_path, [[BEGAN, saved(2, 1), "wait"]], "tiny"))
    changed = NEW.model_copy(update={"tuning": "full"})
    found, entry = train(
        now(tmp_path, changed), replace(run(tmp_path, [[BEGAN, saved(4, 2), DONE]], "tiny"), state=state)
    )
    devices = {name: getattr(NEW, name) for name in ("micro_batch", "gradient_checkpointing", "resources")}
    assert entry == OLD.model_copy(update=devices)
    assert not [each for each in found if isinstance(each, Note)]


@asks_the_hub
def test_what_a_process_says_it_is_trained_by_is_what_counts(tmp_path: Path) -> None:
    # A cluster's process may have been started by a server with another catalogue.
    what = run(tmp_path, [[BEGAN, saved(2, 1), "wait"]], "tiny")
    card = shelf.Shelf(tmp_path / "models").place(CHILD) / "model.json"
    card.write_text(json.dumps({"entry": OLD.model_dump(mode="json"), "final": None}))
    assert json.loads(begin(now(tmp_path), what))["entry"]["hub"] == "acme/m"


def test_four_bits_and_parts_do_not_come_together_in_a_job_that_goes_on(tmp_path: Path) -> None:
    state = {"step": 2, "total": 4, "tokens": 1, "micro": 1}
    begun = json.dumps(state | {"entry": OLD.model_copy(update={"tuning": "qlora"}).model_dump(mode="json")}).encode()
    trainer = now(tmp_path, NEW.model_copy(update={"resources": Resources(workers=2, strategy="fsdp")}))
    with pytest.raises(TrainingFailed, match=r"do not go with what the job began with: tuning qlora goes with"):
        train(trainer, replace(run(tmp_path, [], "tiny"), state=begun))


@pytest.mark.parametrize("fault", ["no card", "another card", "no base"])
def test_a_model_that_cannot_be_made_up_again_is_refused_in_words(tmp_path: Path, fault: str) -> None:
    base = tmp_path / "base"
    base.mkdir()
    weights = made(tmp_path, Entry(path=str(base)))
    card = weights.parent / "model.json"
    if fault == "no base":
        base.rmdir()
    else:
        card.write_text(json.dumps({"final": 4} | ({"entry": {"odd": 1}} if fault == "another card" else {})))
    words = "base, which is no longer where it was" if fault == "no base" else "cannot be read from its card"
    trainer = now(tmp_path)
    assert words in refused(trainer, job(PARENT)).message
    with pytest.raises(AnswerRefused, match=words):
        trainer.answer(Question(PARENT, []))


def test_a_card_that_names_the_file_of_a_template_is_read_with_it(tmp_path: Path) -> None:
    file = tmp_path / "chat.jinja"
    file.write_text("{{ messages }}")
    made(tmp_path, OLD.model_copy(update={"chat_template": str(file)}))
    trainer = now(tmp_path)
    heard = trainer._sampler = Heard()  # type: ignore[assignment]
    list(trainer.answer(Question(PARENT, [])))
    assert heard.entry.chat_template == "{{ messages }}"


def test_a_template_is_read_with_the_catalogue(tmp_path: Path) -> None:
    catalogue, template = tmp_path / "models.yaml", tmp_path / "chat.jinja"
    catalogue.write_text("models: {m: {package: a/b, chat_template: chat.jinja}}")
    template.write_text("{{ messages }}")
    entry = load_catalogue(catalogue).find("m")
    assert entry is not None
    assert entry.chat_template == "{{ messages }}"
    for bad, words in ((b"chat.jinja", "is no chat template"), (b"{\xff", "cannot be read")):
        template.write_bytes(bad)
        with pytest.raises(UsageError, match=words):
            load_catalogue(catalogue)


def test_a_model_that_the_catalogue_has_no_more_is_refused(tmp_path: Path) -> None:
    made(tmp_path)
    trainer = TrlTrainer(tmp_path, Catalogue({"other": NEW}), Graders(), LocalExecutor([PROCESSORS], FAKE), threads=1)
    with pytest.raises(JobRefused, match="not in this server's catalogue"):
        trainer.check(job(PARENT))
