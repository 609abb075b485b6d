"""Every command line gets a plain answer: help, results, or an error that says what to do next."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from program import KEY, Repo, environment
from recording import recording

from reconciler.cli.overview import COMMANDS


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo.make(tmp_path / "repo", server=None)
    repo.spec("a")
    return repo


def key_is_nowhere(root: Path) -> bool:
    return all(KEY.encode() not in file.read_bytes() for file in root.rglob("*") if file.is_file())


def test_the_overview_lists_the_commands_that_exist(repo: Repo) -> None:
    said = repo.run("--help").out
    listed = said.partition("Commands:\n")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in listed.splitlines()] == list(COMMANDS)
    modules = {path.stem.removesuffix("_") for path in (Path(__file__).parents[2] / "reconciler/cli").glob("*.py")}
    assert modules >= set(COMMANDS)
    assert repo.run(code=64).out == said


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_its_purpose_first(repo: Repo, name: str) -> None:
    said = repo.run(name, "--help").out
    assert said.startswith(f"Usage: reconciler {name}")
    assert "-h, --help" in said
    for line in said.splitlines():
        assert len(line) <= 100


def test_the_version_is_the_packages(repo: Repo) -> None:
    from reconciler import __version__  # noqa: PLC0415

    assert repo.run("--version").out == f"reconciler {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["palns"], "palns"),
        (["plan", "--tarket", "x"], "--target"),
        (["plan", "missing", "--server", "local"], "There is no file or directory 'missing'"),
        (["validate", "missing.yaml"], "missing.yaml"),
        (["validate", "-e", "prod"], "There is no environment 'prod'"),
        (["plan", "--format", "xml", "--server", "local"], "markdown"),
        (["plan", "--max-prune", "-1", "--server", "local"], "--max-prune"),
        (["apply", "--concurrency", "0", "--server", "local"], "--concurrency"),
        (["plan", "--server", "lokal"], "Did you mean 'local'?"),
        (["plan", "--server", "http://user:secret@127.0.0.1/v1"], "environment variable"),
        (["plan", "--server", "ftp://127.0.0.1/v1"], "no URL of a server"),
        (["events", "nobody", "--server", "local"], "nobody"),
        (["events", "--server", "local"], "NAME"),
        (["serve", "--host", "0.0.0.0"], "key"),
        (["serve", "--speed", "0"], "--speed"),
        (["serve", "--trainer", "none-such"], "simulated"),
        (["serve", "--gpus", "2"], "--trainer trl"),
        (["serve", "--track", "tensorboard"], "--trainer trl"),
        (["apply", "--server", "local"], "--auto-approve"),
    ],
)
def test_wrong_usage_exits_64_and_says_what_is_wrong(repo: Repo, arguments: list[str], words: str) -> None:
    done = repo.run(*arguments, code=64)
    assert words in done.err
    assert done.out == ""


def test_without_server_and_key_both_ways_are_named(repo: Repo) -> None:
    for name in ("plan", "apply", "status", "events", "checkpoints", "outputs"):
        arguments = [name, "a"] if name in {"events", "checkpoints"} else [name]
        arguments += ["--auto-approve"] if name == "apply" else []
        done = repo.run(*arguments, code=64)
        assert "OPENAI_API_KEY" in done.err
        assert "--server local" in done.err
    assert not (repo.root / ".reconciler/server.db").exists()


def test_bad_specs_are_told_by_file_line_and_column(repo: Repo) -> None:
    repo.write(
        "specs/bad.yaml", "name: bad\nmodel: m\ntraining_file: data/train.jsonl\nhyperparameters: {n_epoch: 3}\n"
    )
    repo.write("specs/worse.yaml", "name: worse\nmodel: m\ntraining_file: data/none.jsonl\n")
    for arguments in (["validate"], ["plan", "--server", "local"], ["apply", "--auto-approve", "--server", "local"]):
        done = repo.run(*arguments, code=1)
        assert "specs/bad.yaml:4:19: hyperparameters.n_epoch: unknown key; did you mean 'n_epochs'?" in done.err
        assert "specs/worse.yaml" in done.err
        assert "data/none.jsonl" in done.err
        assert done.out == ""


def test_validate_is_offline_and_speaks_json(repo: Repo) -> None:
    assert repo.run("validate").out == "1 job is valid.\n"
    document = repo.run("validate", "--format", "json").json
    assert document["valid"] is True
    assert [job["name"] for job in document["jobs"]] == ["a"]
    repo.write("specs/bad.yaml", "name: bad\n")
    document = repo.run("validate", "--format", "json", code=1).json
    assert document["valid"] is False
    assert {"file", "line", "column", "message"} <= document["problems"][0].keys()


def test_specs_may_come_through_a_pipe(repo: Repo) -> None:
    text = (repo.root / "specs/a.yaml").read_text().replace("data/", "specs/data/")
    assert repo.run("validate", "-", stdin=text).out == "1 job is valid.\n"


@pytest.mark.slow  # it is tried again for a while
def test_an_unreachable_server_is_named_with_its_address(repo: Repo) -> None:
    closed = Repo(repo.root, "http://127.0.0.1:9/v1", {"OPENAI_API_KEY": KEY})
    done = closed.run("plan", code=1)
    assert "http://127.0.0.1:9/v1 cannot be reached" in done.err
    assert key_is_nowhere(repo.root)


def test_a_wrong_key_is_said_without_showing_it(repo: Repo, tmp_path: Path) -> None:
    with recording(tmp_path / "server", key="the right one") as server:
        done = Repo(repo.root, server.url, {"OPENAI_API_KEY": KEY}).run("apply", "--auto-approve", code=1)
        assert "OPENAI_API_KEY" in done.err
        assert server.changes == []
    assert key_is_nowhere(repo.root)


def test_the_key_is_in_no_output_and_no_file(repo: Repo, tmp_path: Path) -> None:
    with recording(tmp_path / "server", key=KEY) as server:
        env = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.url, "RECONCILER_DEBUG": "1"}
        keyed = Repo(repo.root, None, env)
        keyed.apply("--wait")
        keyed.run("plan", "--out", "plan.json")
        keyed.run("status")
        keyed.run("events", "a")
        keyed.run("outputs", "--out", "models.json")
    assert (repo.root / "models.json").exists()
    assert key_is_nowhere(repo.root)


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"<!doctype html><title>Welcome</title>{self.headers.get('Authorization', '')}".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def page() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_web_page_is_not_taken_for_a_server(repo: Repo, page: str) -> None:
    done = Repo(repo.root, page, {"OPENAI_API_KEY": KEY}).run("plan", code=1)
    assert "HTML" in done.err
    assert "/v1" in done.err
    assert "Welcome" not in done.said


def test_a_reader_that_leaves_early_is_no_error(repo: Repo) -> None:
    command = f"'{sys.executable}' -m reconciler plan --server local --format json | head -1"
    done = subprocess.run(
        command, shell=True, cwd=repo.root, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("{\n", "", 0)


def test_a_full_disk_behind_out_is_an_error_that_keeps_the_old_file(repo: Repo) -> None:
    kept = repo.write("out/models.json", "old")
    kept.parent.chmod(0o500)
    place = "none" if os.geteuid() == 0 else "out"  # root may write anywhere that there is
    done = repo.run("outputs", "--server", "local", "--out", f"{place}/models.json", code=1)
    kept.parent.chmod(0o700)
    assert "cannot be written" in done.err
    assert kept.read_text() == "old"
