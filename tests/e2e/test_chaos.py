"""Faults on demand, met by the commands: what users see, what is left, and what the next run does."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import ledger
import pytest
import ryaml
from fault_table import DOCUMENT, ROWS, Row, document, slug
from program import KEY, LONG, OWNER, Repo, Result, end
from recording import PATIENCE, Recording, recording, within

from reconciler.cli.main import run
from reconciler.server.chaos.rules import Chaos, ChaosFile

UNFINISHED = {"validating_files", "queued", "running"}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RECONCILER_SERVER", "RECONCILER_OWNER", "OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CHAOS_KEY", KEY)


def rules_of(row: Row) -> Chaos:
    file = ChaosFile.model_validate({"rules": row.rules})
    return Chaos(file.seed, file.rules, started=0.0, on=False)


class Scene:
    """A server that can misbehave, and a repository whose specs are reconciled with it."""

    def __init__(self, root: Path, server: Recording, lag: float, capsys: pytest.CaptureFixture[str]) -> None:
        self.store = root / "server"
        self._server = server
        self._capsys = capsys
        settings = f"servers: {{chaos: {{base_url: '{server.url}', lag: {lag}, key_env: CHAOS_KEY}}}}\nserver: chaos\n"
        self.repo = Repo.make(root / "repo", None, settings)

    def command(self, *arguments: str) -> Result:
        """Run a command in this process."""
        name, *options = arguments
        self._capsys.readouterr()
        code = run([name, str(self.repo.root / "specs"), *options])
        said = self._capsys.readouterr()
        result = Result(code, said.out, said.err)
        self.repo.check(result)
        return result

    def ours(self) -> list[dict[str, Any]]:
        """Return our jobs, as the database has them, oldest first."""
        return [j for j in ledger.jobs(self.store) if (j["metadata"] or {}).get("reconciler.owner") == OWNER]

    def statuses(self) -> list[str]:
        return [job["status"] for job in self.ours()]

    def rest(self) -> None:
        """Wait until no short job is under way."""

        def is_under_way(job: dict[str, Any]) -> bool:
            return job["status"] in UNFINISHED and job["model"] != "simulated-slow"

        within(PATIENCE, lambda: not any(map(is_under_way, self.ours())))

    def begin(self, start: str) -> None:
        """Bring about what a row begins with, while nothing goes wrong."""
        match start:
            case "four":
                self.made("old", matrix={"seed": [1, 2, 3]})
                within(PATIENCE, lambda: time.time() > self.ours()[-1]["created_at"] + 1)  # so that an order shows
                self.made("older", seed=4)
                self.rest()
            case "pause" | "resume":
                job = LONG if start == "pause" else LONG | {"hyperparameters": {"n_epochs": 6}}
                self.made("new", **job)
                within(PATIENCE, lambda: self.statuses() == ["running"])
                self.repo.spec("new", state="paused", **job)
                if start == "resume":
                    self.made("new", state="paused", **job)
                    self._server.release()
                    self.repo.spec("new", **job)
                return
            case "foreign":
                self.a_foreign_job()
        self.repo.spec("new")

    def made(self, name: str, **fields: Any) -> None:
        """Write a spec and apply it."""
        self.repo.spec(name, **fields)
        applied = self.command("apply", "--auto-approve")
        assert applied.code == 0, applied.said

    def a_foreign_job(self) -> None:
        http = self._server.http
        upload = {"file": ("foreign.jsonl", (self.repo.root / "specs/data/long.jsonl").read_bytes())}
        file = http.post("/files", data={"purpose": "fine-tune"}, files=upload).raise_for_status().json()
        body = {"model": "simulated-slow", "training_file": file["id"], "metadata": {"reconciler.name": "new"}}
        http.post("/fine_tuning/jobs", json=body).raise_for_status()

    def converge(self, row: Row) -> None:
        """Run once more without faults, and insist that all is as it should be."""
        applied = self.command("apply", "--auto-approve")
        assert applied.code == 0, applied.said
        self.rest()
        plan = self.command("plan", "--detailed-exitcode")
        assert plan.code == 0, plan.said
        ours = [job["metadata"]["reconciler.name"] for job in self.ours() if job["status"] != "cancelled"]
        assert sorted(ours) == sorted(set(ours)), self.ours()
        assert len(self.ours()) == row.bought
        foreign = [j["status"] for j in ledger.jobs(self.store) if j not in self.ours() and j["metadata"]]
        assert "cancelled" not in foreign
        ledger.check_whole(self.store)


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=slug(row), marks=[pytest.mark.slow] if row.slow else []) for row in ROWS]
)
def test_a_fault_has_the_outcome_that_the_table_promises(
    row: Row, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chaos = rules_of(row)
    with recording(tmp_path / "server", speed=20, chaos=chaos) as server:
        scene = Scene(tmp_path, server, row.lag, capsys)
        scene.begin(row.start)
        chaos.on = True
        approved = ["--auto-approve"] if row.command.startswith("apply") else []
        met = scene.command(*row.command.split(), *approved)
        chaos.on = False
        assert (met.code, row.sees in " ".join(met.said.split())) == (row.code, True), met.said
        assert all(rule["struck"] for rule in chaos.report["rules"]), "the fault never struck"
        live = [job for job in scene.ours() if job["status"] != "cancelled"]
        assert (len(live), len(scene.ours())) == (row.live, row.ever)
        assert not row.status or scene.statuses()[-1] == row.status
        scene.converge(row)


def test_the_document_is_current() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run: python tests/e2e/fault_table.py"


def test_the_rules_in_the_document_are_rules() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", document(), re.DOTALL)
    assert len(ChaosFile.model_validate({"rules": ryaml.loads(block)}).rules) == sum(len(row.rules) for row in ROWS)  # type: ignore[attr-defined]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Repo, str]]:
    """Start ``serve --chaos`` as users do; it ends with the test."""
    repo = Repo.make(tmp_path / "repo", None)
    repo.write(
        "chaos.yaml",
        "seed: 7\n"
        "rules:\n"
        "- fault: {kind: drop, when: after}  # the job is made, and nobody hears of it\n"
        "  match: {method: POST, path: /fine_tuning/jobs, nth: 1}\n"
        "- fault: {kind: error, status: 429, retry_after_ms: 100}\n"
        "  match: {probability: 0.3, until: 20}\n",
    )
    server = repo.start("serve", "--port", "0", "--speed", "20", "--chaos", "chaos.yaml", "--directory", "server")
    assert server.stdout is not None
    try:
        yield repo, server.stdout.readline()
    finally:
        end(server)


def test_serve_says_that_chaos_is_on_and_an_apply_gets_through_it(served: tuple[Repo, str]) -> None:
    repo, line = served
    assert line.endswith("/v1 with chaos: 2 rules of chaos.yaml, seed 7\n")
    url = line.split()[1]
    repo.spec("a")
    applied = repo.run("apply", "--auto-approve", "--wait", "--server", url)
    assert "looking for its job" in applied.err
    assert [job["status"] for job in ledger.jobs(repo.root / "server")] == ["succeeded"]
    health = httpx.get(url.removesuffix("/v1") + "/healthz", trust_env=False).json()
    assert [rule["fault"] for rule in health["chaos"]["rules"]] == ["drop", "error"]
    assert all(rule["struck"] for rule in health["chaos"]["rules"])
    assert repo.run("plan", "--detailed-exitcode", "--server", url).code == 0


def test_a_chaos_file_that_means_nothing_is_refused(tmp_path: Path) -> None:
    repo = Repo.make(tmp_path / "repo", None)
    repo.write("chaos.yaml", "rules:\n- fault: gremlins\n")
    refused = repo.run("serve", "--chaos", "chaos.yaml", code=64)
    assert "chaos.yaml: rules.1.fault: must be one of 'error', " in refused.err
    assert ", not 'gremlins'" in refused.err
    assert "nowhere.yaml cannot be read" in repo.run("serve", "--chaos", "nowhere.yaml", code=64).err
