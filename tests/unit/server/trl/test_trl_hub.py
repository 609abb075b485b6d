"""Exports to the Hugging Face hub, by its own client, to a stand-in that takes what the real one takes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from hub import READER, TOKEN, Repo
from hub import Hub as Stand
from serving import Serve
from test_trl_export import FACTS, PAIRS, make

from reconciler.cli.main import run
from reconciler.errors import (
    ApiError,
    Conflict,
    InvalidRequest,
    NoAnswer,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    RateLimited,
    ReconcilerError,
    ServerFault,
    UsageError,
)
from reconciler.server.jobs import JobRow
from reconciler.server.trainers.trl.card import Provenance, card
from reconciler.server.trainers.trl.hub import Address, Hub, Leave, room
from reconciler.server.trainers.trl.shelf import Made

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("huggingface_hub") is None, reason="needs the hub's client: pip install -e '.[train]'"
    ),
]
NAME = "acme/triage"
OURS = '---\nreconciler: {"spec": "triage", "owner": "acme/x"}\n---\n'
THEIRS = '---\nreconciler: {"spec": "inbox", "owner": "acme/x"}\n---\n'


@pytest.fixture
def what(tmp_path: Path) -> Provenance:
    made = Made("ft:m:local::x", 4, tmp_path, FACTS | {"job": "ftjob-1"})
    document: Any = {"metadata": PAIRS, "trained_tokens": 7}
    job = JobRow(1, "ftjob-1", "succeeded", document, 4, 1, 1, None)
    return Provenance(made, job, {"training_file": "t.jsonl", "validation_file": ""}, {})


@pytest.fixture
def files(tmp_path: Path, what: Provenance) -> Path:
    """What an export writes, in small."""
    place = tmp_path / "written"
    for name, content in {
        "merged/model.safetensors": "weights",
        "merged/config.json": "{}",
        "adapter/adapter_model.safetensors": "adapter",
        "README.md": card(what, commit=None, parts="All is here."),
    }.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(content)
    return place


def send(what: Provenance, files: Path, leave: Leave = Leave(), *, to: str = NAME, token: str = TOKEN) -> str:  # noqa: B008
    address = Address.parse(f"hf://{to}")
    assert address is not None
    made = Hub(address, token, bars=False)
    return made.send(files, made.check(what, leave), what, leave)


def held(files: Path) -> dict[str, bytes]:
    """Return what a repository holds after an export: the whole model at its root."""
    found = [file for file in files.rglob("*") if file.is_file()]
    return {file.relative_to(files).as_posix().removeprefix("merged/"): file.read_bytes() for file in found}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("hf://acme/m", Address("acme/m")),
        ("hf://acme/m@next/one", Address("acme/m", "next/one")),
        ("hf:/acme/m", None),
        ("out/inbox", None),
    ],
)
def test_an_address_names_a_repository_and_a_branch(text: str, found: Address | None) -> None:
    assert Address.parse(text) == found
    assert found is None or str(found) == text


@pytest.mark.parametrize("text", ["hf://", "hf://acme", "hf://datasets/acme/m", "hf://acme/m@", "hf://acme/m m"])
def test_what_only_looks_like_an_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no repository"):
        Address.parse(text)


def test_a_new_repository_is_private_and_holds_the_export_at_its_root(
    stand: Stand, what: Provenance, files: Path
) -> None:
    said = send(what, files)
    repo = stand.repos[NAME]
    left = {".gitattributes": (repo.files() or {})[".gitattributes"]}
    assert repo.files() == held(files) | left
    assert repo.private
    assert repo.messages[-1] == f"triage: job {what.job.id}, revision 0123456789abcdef.1"
    assert said == f"{stand.url}/{NAME}/commit/{repo.branches['main']}"


def test_a_repository_is_public_where_that_is_said(stand: Stand, what: Provenance, files: Path) -> None:
    send(what, files, Leave(public=True))
    assert not stand.repos[NAME].private


def test_an_earlier_model_of_the_spec_is_replaced_and_nothing_else(stand: Stand, what: Provenance, files: Path) -> None:
    old = {"model-00001-of-00002.safetensors": "a", "model.safetensors.index.json": "{}", "adapter/old.bin": "b",
           "triage.gguf": "c", "Modelfile": "d", "config.json": "e"}  # fmt: skip
    repo = stand.make(NAME, {"README.md": OURS, "LICENSE": "mine", "other/a.safetensors": "mine", **old})
    before = dict(repo.commits)
    send(what, files)
    now = repo.files() or {}
    assert now == held(files) | {name: now[name] for name in (".gitattributes", "LICENSE", "other/a.safetensors")}
    assert now["LICENSE"] == b"mine"
    assert len(repo.commits) == len(before) + 1, "one commit"


def test_the_same_again_is_no_other_commit(stand: Stand, what: Provenance, files: Path) -> None:
    assert send(what, files) == send(what, files)
    assert len(stand.repos[NAME].commits) == 2


def test_a_branch_gets_the_commit_that_is_named(stand: Stand, what: Provenance, files: Path) -> None:
    repo = stand.make(NAME, {"README.md": OURS})
    repo.commit(repo.files() or {}, "next/one")
    main = repo.branches["main"]
    send(what, files, to=f"{NAME}@next/one")
    assert repo.branches["main"] == main
    assert (repo.files("next/one") or {})["config.json"] == b"{}"


REFUSED = [
    ({"README.md": "# Mine", "model.safetensors": "x"}, {}, "files that reconciler did not put there"),
    ({"README.md": "---\nreconciler: yes\n---\n"}, {}, "files that reconciler did not put there"),
    ({"README.md": "---\n: [\n---\n"}, {}, "files that reconciler did not put there"),
    ({"config.json": "{}"}, {}, r"files that reconciler did not put there \(config.json\)"),
    ({"README.md": THEIRS}, {}, "holds the model of 'inbox', not of this spec"),
    ({"README.md": OURS}, {"private": False}, "is public"),
]


@pytest.mark.parametrize(("there", "how", "words"), REFUSED)
def test_what_is_somebody_elses_is_left_alone(
    stand: Stand, what: Provenance, files: Path, there: dict[str, str], how: dict[str, bool], words: str
) -> None:
    repo = stand.make(NAME, there, private=how.get("private", True))
    with pytest.raises(UsageError, match=words):
        send(what, files)
    assert len(repo.commits) == 1
    assert {method for method, _ in stand.requests} == {"GET"}
    send(what, files, Leave(public=not repo.private, overwrite=True))
    assert (repo.files() or {})["model.safetensors"] == b"weights"


def test_a_private_repository_is_not_made_public_in_passing(stand: Stand, what: Provenance, files: Path) -> None:
    stand.make(NAME, {"README.md": OURS})
    with pytest.raises(UsageError, match="is private"):
        send(what, files, Leave(public=True))


def test_a_branch_that_is_not_there_is_said(stand: Stand, what: Provenance, files: Path) -> None:
    with pytest.raises(NotFound, match=f"There is no {NAME} yet"):
        send(what, files, to=f"{NAME}@next")
    assert NAME not in stand.repos
    stand.make(NAME)
    with pytest.raises(NotFound, match="has no branch next"):
        send(what, files, to=f"{NAME}@next")


FAULTS: list[tuple[str, str, int, type[ApiError]]] = [
    ("GET", f"/api/models/{NAME}/revision/main", 401, NotAuthenticated),
    ("GET", f"/api/models/{NAME}/revision/main", 429, RateLimited),
    ("GET", f"/api/models/{NAME}/auth-check/write", 403, NotPermitted),
    ("POST", f"/api/models/{NAME}/preupload/main", 403, NotPermitted),
    ("POST", f"/{NAME}.git/info/lfs/objects/batch", 400, InvalidRequest),
    ("PUT", "/store/", 403, NotPermitted),
    ("POST", f"/api/models/{NAME}/commit/main", 500, ServerFault),
]


@pytest.mark.parametrize(("method", "path", "status", "kind"), FAULTS)
def test_what_the_hub_refuses_is_said_and_changes_nothing(
    stand: Stand, what: Provenance, files: Path, method: str, path: str, status: int, kind: type[ApiError]
) -> None:
    repo = stand.make(NAME, {"README.md": OURS})
    stand.fault = lambda verb, asked: status if verb == method and asked.startswith(path) else None
    with pytest.raises(kind) as caught:
        send(what, files)
    assert caught.value.status == status
    assert caught.value.hint
    assert len(repo.commits) == 1


def test_a_token_that_may_only_read_makes_no_repository(stand: Stand, what: Provenance, files: Path) -> None:
    with pytest.raises(NotPermitted, match=f"may not write to {NAME}"):
        send(what, files, token=READER)
    assert not stand.repos


def test_a_repository_that_moved_in_between_is_left_as_it_is(stand: Stand, what: Provenance, files: Path) -> None:
    repo = stand.make(NAME, {"README.md": OURS})
    made = Hub(Address(NAME), TOKEN, bars=False)
    found = made.check(what, Leave())
    theirs = repo.commit({"README.md": b"theirs"})
    with pytest.raises(Conflict, match="has changed in between"):
        made.send(files, found, what, Leave())
    assert repo.branches["main"] == theirs


@pytest.mark.usefixtures("stand")
def test_a_card_that_the_hub_does_not_take_is_said_in_its_words(what: Provenance, files: Path) -> None:
    text = (files / "README.md").read_text()
    (files / "README.md").write_text(text.replace('license: "mit"', 'license: "homemade"'))
    with pytest.raises(InvalidRequest, match=r'"license" must be one of') as caught:
        send(what, files)
    assert caught.value.hint == f"{NAME} was made, and is empty."
    (files / "README.md").write_text(text)
    send(what, files)  # what is empty is nobody's


def test_a_hub_that_does_not_answer_is_named(
    stand: Stand, what: Provenance, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants  # noqa: PLC0415

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(NoAnswer, match=r"The hub at http://127\.0\.0\.1:9 does not answer"):
        send(what, files)
    assert not stand.requests


def command(tmp_path: Path, *options: str) -> int:
    return run(["models", "export", "triage", "--directory", str(tmp_path), *options])


@pytest.mark.parametrize(
    ("env", "options", "ending"),
    [
        ({"HF_TOKEN": ""}, ["--to", f"hf://{NAME}"], (64, "There is no token for the hub")),
        ({"HF_TOKEN": "hf_wrong_and_not_to_be_shown_1234"}, ["--to", f"hf://{NAME}"], (1, "does not know this token")),
        ({}, ["--to", "hf://acme"], (64, "is no repository of the hub")),
        ({}, ["--to", "hf://acme/-x"], (64, "The hub takes no such name")),
        ({}, ["--to", f"hf://{NAME}@next"], (1, "has no branch next")),
        ({}, ["--to", "hf://acme/theirs"], (64, "Name another repository, or replace its weights with --overwrite")),
        ({}, ["--to", "out", "--public"], (64, "are for a repository of the hub")),
        ({}, ["--to", "out", "--overwrite"], (64, "are for a repository of the hub")),
    ],
)
def test_the_command_says_what_is_wrong_before_it_merges(
    stand: Stand,
    serve: Serve,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    env: dict[str, str],
    options: list[str],
    ending: tuple[int, str],
) -> None:
    make(serve, tmp_path)
    code, words = ending
    monkeypatch.chdir(tmp_path)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    theirs: Repo = stand.make("acme/theirs", {"README.md": "# Mine"})
    assert command(tmp_path, *options) == code
    said = capsys.readouterr()
    assert words in said.err
    assert not said.out
    assert "hf_" not in said.err.replace("hf_home", "")
    assert "Traceback" not in said.err
    assert len(theirs.commits) == 1
    assert not list(tmp_path.glob("export*"))


def test_one_export_at_a_time_has_room_and_leaves_none(tmp_path: Path) -> None:
    place = tmp_path / "export"
    place.mkdir()
    (place / "left").write_text("by one that was killed")
    with room(place) as found:
        assert not list(found.iterdir())
        with pytest.raises(ReconcilerError, match="Another export to a hub is under way"), room(place):
            pass
        assert found.is_dir()
    assert not place.exists()


def test_offline_the_hub_is_not_asked(
    stand: Stand, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub import constants  # noqa: PLC0415

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    make(serve, tmp_path)
    assert command(tmp_path, "--to", f"hf://{NAME}") == 64
    assert "HF_HUB_OFFLINE" in capsys.readouterr().err
    assert not stand.requests
