"""200 hostile texts through everything that a run leaves for others: nothing gets out of its place."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from as_github import insist_on_annotation, insist_on_words, read_outputs
from hostile import HOSTILE

from reconciler.apply.model import Outcome
from reconciler.apply.permissions import Granted
from reconciler.ci.annotations import MOST, annotate
from reconciler.ci.comment import comment, earlier_runs, marker
from reconciler.ci.finished import Finished, Trained
from reconciler.ci.outputs import output_text, outputs
from reconciler.ci.review import Review, unreviewed
from reconciler.ci.summary import summary
from reconciler.ci.surroundings import Surroundings, read_surroundings
from reconciler.errors import HostError, Problem, ReconcilerError, SpecError
from reconciler.history.losses import Losses
from reconciler.observe.state import ObservedJob
from reconciler.plan.drift import Drift
from reconciler.plan.model import Access, Action, Change, Difference, Plan

AROUND = Surroundings(commit="a" * 40, run_url="https://github.example/acme/models/actions/runs/1")


def endings(text: str) -> list[Finished]:
    """Return runs in which every foreign text is this one."""
    change = Change(
        text, Action.CREATE, text, text, text, 1, (Difference(text, text, text, 1, 2),), text, text, (text,)
    )
    blocked = Change(text, Action.BLOCKED, text)
    plan = Plan.of(text, text, [change, blocked], [text], [text], [Access(text, text, (text,), ((text, text),))])
    error = ReconcilerError(text, hint=text)
    wandb = {"entity": text, "project": text, "run_id": text}
    runs = ({"wandb": wandb}, {"wandb": {**wandb, "entity": None}}, {"wandb": text})
    job = ObservedJob(text, text, text, 1, text, 0, integrations=runs)
    failed = Outcome(change, "failed", text, error, text, text)
    granted = Granted(Access(text, text), "failed", error, text)
    return [
        Finished(command="plan", owner=text, environment=text, plan=plan, warnings=(Problem(text, 3, 0, text),)),
        Finished(command="plan", owner=text, error=error),
        Finished(command="validate", owner=text, error=SpecError([Problem(text, 3, 4, text)], hint=text)),
        Finished(command="apply", owner=text, plan=plan, outcomes=(failed,), granted=(granted,), problems=(text,),
                 models={text: text}, trained=(Trained(text, job, Losses(((1, 2.0),))),)),
        Finished(command="plan", owner=text, plan=replace(plan, compared=True), offline=text,
                 settings=(Difference(text, text, text),)),
        Finished(command="drift", owner=text, drift=(Drift(text, text, "running", text, text),)),
    ]  # fmt: skip


def check_markdown(text: str, *, marked: bool) -> None:
    assert AROUND.run_url is not None
    runs = re.findall(r"\]\((https://wandb\.ai/[\w.~%/-]+)\)", text)
    assert all(run.count("/") == 6 for run in runs)
    insist_on_words(text, links=[AROUND.run_url, *runs], hidden=marked)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_stays_where_it_is_put(text: str) -> None:
    for finished in endings(text):
        check_comment(finished, text)
        check_markdown(summary(finished, [text]), marked=False)
        check_annotations(finished)
        check_outputs(finished, text)


def check_comment(finished: Finished, text: str) -> None:
    body = comment(finished, AROUND, previous=f"{text}\n{text}")
    plan = finished.plan
    live = finished.command == "plan" and plan is not None and not plan.compared
    check_markdown(body, marked=True)
    assert ("\n<!-- reviewed " in body) is live
    review = Review.read(body)
    assert (review is not None) is live
    assert plan is None or review is None or unreviewed(review, plan, ()) == []
    assert len(body.encode("utf-16-le", "surrogatepass")) // 2 <= 65_536
    assert body.startswith(marker(finished.owner, finished.environment) + "\n")
    assert len(earlier_runs(comment(finished, AROUND))) == 1


def check_annotations(finished: Finished) -> None:
    for annotation in annotate(finished, cwd=Path("/w"), root=Path("/w"), workspace=Path("/w")):
        insist_on_annotation(str(annotation))


def check_outputs(finished: Finished, text: str) -> None:
    marks = iter(f"m{i}" for i in range(1000))
    values = outputs(finished, plan_file=Path("p"), plan_json=None, comment_id=None)
    assert read_outputs(output_text(values, lambda: next(marks))) == values
    if finished.models is not None:
        assert json.loads(values["outputs-json"]) == {text: text}


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_surroundings_count_as_absent(text: str) -> None:
    names = ("GITHUB_REPOSITORY", "GITHUB_API_URL", "GITHUB_SERVER_URL", "GITHUB_RUN_ID", "GITHUB_SHA", "GITHUB_REF")
    env = dict.fromkeys(names, text) | {"GITHUB_EVENT_NAME": "pull_request"}
    payload = {"pull_request": {"number": text, "merged": text, "head": {"sha": text}}, "repository": text}
    around = read_surroundings(env, json.dumps(payload).encode())
    assert (around.pull_request, around.merged, around.commit, around.run_url) == (None, False, None, None)
    assert around.api_url == "https://api.github.com"


def test_annotations_are_as_many_as_github_shows_and_the_rest_counted() -> None:
    problems = [Problem("specs/a.yaml", n, 1, "bad") for n in range(1, 35)]
    odd = Problem("specs/train.jsonl", 4, 0, "is odd")
    finished = Finished(command="validate", owner="o", error=SpecError(problems), warnings=(odd,) * 12)
    lines = list(map(str, annotate(finished, cwd=Path("/w"), root=None, workspace=Path("/w"))))
    assert [line.startswith("::error") for line in lines] == [True] * MOST + [False] * MOST
    assert lines[0] == "::error file=specs/a.yaml,line=1,col=1::bad"
    assert lines[MOST - 1] == "::error::25 more errors: the job summary and the log have them."
    assert lines[MOST] == "::warning file=specs/train.jsonl,line=4::is odd"
    assert "3 more warnings" in lines[-1]


def test_paths_outside_of_the_checkout_are_said_in_words() -> None:
    finished = Finished(command="validate", owner="o", error=SpecError([Problem("../x.yaml", 2, 3, "bad")]))
    [only] = annotate(finished, cwd=Path("/w"), root=None, workspace=Path("/w"))
    assert str(only) == "::error::../x.yaml:2:3: bad"
    [only] = annotate(finished, cwd=Path("/w/sub"), root=None, workspace=Path("/w"))
    assert str(only) == "::error file=x.yaml,line=2,col=3::bad"


def test_a_delimiter_that_stands_in_the_value_is_drawn_again() -> None:
    marks = iter(["a", "b", "c"])
    assert output_text({"x": "has a\nand b"}, lambda: next(marks)) == "x<<c\nhas a\nand b\nc\n"


def test_an_error_of_github_is_said_like_any_other() -> None:
    finished = Finished(command="plan", owner="o", error=HostError("GitHub answered 500.", status=500))
    assert "### The run failed" in comment(finished, AROUND)
