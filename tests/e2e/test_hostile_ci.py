"""200 hostile texts through whole runs in a pipeline: as names, in git and the event, and as the words of servers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, cycle
from pathlib import Path

import pytest
from as_github import heard, insist_on_annotation, insist_on_words
from everything import everything
from github import BOT, REPOSITORY, Runner, Stand
from hostile import HOSTILE
from pipeline import ci
from program import OWNER, Repo, Result
from recording import recording
from spiked import Spiked
from starlette.types import ASGIApp

from reconciler.ci.finished import Finished
from reconciler.ci.outputs import outputs

batches = pytest.mark.parametrize(
    "texts",
    [pytest.param(HOSTILE[n::10], id=str(n), marks=[pytest.mark.slow] if n else []) for n in range(10)],
)
"""All of them, twenty at a time."""
OUTPUTS = outputs(Finished(command="plan", owner=""), plan_file=None, plan_json=None, comment_id=None)
RUN = "https://github.example/acme/models/actions/runs/4242"


def one_line(text: str, longest: int) -> str:
    """Return as much of a text as a spec may hold in one line."""
    return " ".join("".join(c for c in text if c.isprintable()).split())[:longest].strip() or "-"


def surroundings(runner: Runner, text: str, event: str, source: str = REPOSITORY) -> dict[str, str]:
    """Return what a runner hands to a step when everything that strangers may choose is this text."""
    plain = text.replace("\0", "").encode(errors="replace").decode()  # an environment holds no more
    commit = {"message": text, "author": {"name": text, "email": text}, "id": text}
    pull = {
        "number": 7,
        "title": text,
        "body": text,
        "user": {"login": text},
        "labels": [{"name": text}],
        "head": {"ref": text, "label": text, "sha": "a" * 40, "repo": {"full_name": source}},
        "base": {"ref": text, "label": text, "sha": runner.base},
    }
    payload = {
        "pull_request": pull,
        "repository": {"default_branch": "main", "description": text},
        "head_commit": commit,
        "commits": [commit],
        "sender": {"login": text},
        "pusher": {"name": text},
    }
    names = ("HEAD_REF", "BASE_REF", "ACTOR", "TRIGGERING_ACTOR", "WORKFLOW", "JOB", "WORKFLOW_REF")
    ref = "refs/heads/main" if event == "push" else f"refs/heads/{plain}"
    return runner.event(event, payload, GITHUB_REF=ref, **{f"GITHUB_{name}": plain for name in names})


def nothing_escapes(done: Result, runner: Runner, stand: Stand) -> None:
    """Insist that whatever a run left for others is ours, with their words in it."""
    for body in stand.bodies(BOT):
        insist_on_words(body, links=[RUN], hidden=True)
    insist_on_words(runner.summary, links=[], hidden=False)
    for command in heard(done.out):
        insist_on_annotation(command)
    assert heard(done.err) == []
    assert done.said.replace("\n", "").isprintable()
    values = runner.outputs()
    assert values.keys() == OUTPUTS.keys()
    assert values["has-changes"] in ("true", "false", "")


def in_git(repo: Repo, texts: Sequence[str] = ("first",)) -> str:
    """Commit all, with these texts as the messages of commits and in the branch's name; return the newest commit."""
    branch = "".join(c for text in texts for c in text[:20] if c.isalnum() or c in "<>|$`'\"&;()!%=+#")[:60]
    repo.git("init", "-q", "-b", branch)
    repo.git("add", "-A")
    message = repo.root.with_name("message")
    for text in texts:
        message.write_bytes(text.replace("\0", "").encode("utf-8", "replace"))
        lenient = ("--allow-empty", "--allow-empty-message", "--cleanup=verbatim")
        repo.git("commit", "-q", *lenient, "-F", str(message))
    return repo.git("rev-parse", "HEAD")


@batches
def test_specs_that_nobody_can_read(tmp_path: Path, stand: Stand, texts: list[str]) -> None:
    repo = Repo.make(tmp_path / "repo", server=None)
    runner = Runner(tmp_path / "runner", repo.root, stand.url, base=in_git(repo, texts))
    for number, text in enumerate(texts):
        spec = {"name": text, "model": text, "training_file": text, "metadata": {text: text}, text: text}
        name = one_line(text, 50).replace("/", "_")
        repo.write(f"specs/{number} {name}.yaml", json.dumps(spec))
    nothing_escapes(ci(repo, surroundings(runner, texts[0], "pull_request"), code=1), runner, stand)
    assert len(stand.bodies()) == 1


@batches
def test_specs_and_settings_that_say_it_where_they_may(tmp_path: Path, stand: Stand, texts: list[str]) -> None:
    repo = Repo.make(tmp_path / "repo", server=None, RECONCILER_SERVER="local")
    runner = Runner(tmp_path / "runner", repo.root, stand.url, base=in_git(repo, texts))
    models = [one_line(text, 100) for text in texts]
    settings = {
        "owner": models[0],
        "servers": {"a": {"base_url": "https://a.example"}},
        "policy": {"allowed_models": ["*", *models]},
    }
    for words, source in ((texts, REPOSITORY), (texts[::-1], texts[0]), (texts[::-1], REPOSITORY)):
        for number, text in enumerate(words):
            labels = {one_line(text, 64): one_line(text, 200)}
            repo.spec(f"n{number}", model=models[number], suffix=one_line(texts[number], 20), metadata=labels)
        repo.write("reconciler.yaml", json.dumps(settings, ensure_ascii=False))
        nothing_escapes(ci(repo, surroundings(runner, texts[0], "pull_request", source)), runner, stand)
        assert "policy.allowed" in stand.bodies()[0]
        repo.write("reconciler.yaml", f"owner: {OWNER}\n")
        stand.tips["main"] = in_git(repo)
        runner = replace(runner, base=stand.tips["main"])
        nothing_escapes(ci(repo, surroundings(runner, texts[0], "push"), code=1), runner, stand)


@batches
def test_a_server_and_github_refuse_in_these_words(tmp_path: Path, stand: Stand, texts: list[str]) -> None:
    repo = Repo.make(tmp_path / "repo", server=None)
    repo.spec("a")
    stand.fault = lambda *_: 403
    spiked: list[Spiked] = []

    def around(app: ASGIApp) -> Spiked:
        spiked.append(Spiked(app))
        return spiked[0]

    runner = Runner(tmp_path / "runner", repo.root, stand.url, base=in_git(repo))
    with recording(tmp_path / "server", around=around) as server:
        for number, text in enumerate(texts):
            spiked[0].way = ("refuse", "plain text")[number % 2]
            spiked[0].text = stand.words = text
            event = ("pull_request", "pull_request", "push", "push")[number % 4]
            done = ci(repo, surroundings(runner, text, event), "--server", server.url, code=None)
            nothing_escapes(done, runner, stand)


@pytest.mark.slow
def test_a_server_says_them_wherever_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand: Stand) -> None:
    said = iter(HOSTILE)
    with everything(tmp_path, monkeypatch) as world:
        runner = Runner(tmp_path / "runner", world.repo.root, stand.url)
        world.spike.way = "instead"
        world.spike.texts = chain(said, cycle(HOSTILE))
        for command in ("plan", "drift") * 8:
            env = surroundings(runner, HOSTILE[0], "push")
            nothing_escapes(
                ci(world.repo, env, "--command", command, "--server", world.server.url, code=None), runner, stand
            )
    assert next(said, None) is None
