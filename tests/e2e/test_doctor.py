"""`doctor` finds what is wrong, says where each value comes from, and changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from program import KEY, OWNER, Repo
from recording import recording

from reconciler.server.chaos.rules import Chaos, load_chaos


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo.make(tmp_path / "repo", server=None)
    repo.spec("a")
    return repo


def checks(repo: Repo, *arguments: str, code: int = 0) -> dict[str, dict[str, str]]:
    done = repo.run("doctor", "--format", "json", *arguments, code=code)
    return {check["name"]: check for check in done.json["checks"]}


def chaos(tmp_path: Path, *rules: str) -> Chaos:
    file = tmp_path / "chaos.yaml"
    file.write_text("rules:\n" + "".join(f"  - {rule}\n" for rule in rules), encoding="utf-8")
    return load_chaos(file, 0.0)


def test_a_healthy_server_is_found_to_be_one_and_nothing_is_changed(repo: Repo, tmp_path: Path) -> None:
    with recording(tmp_path / "server", key=KEY) as server:
        ours = Repo(repo.root, server.url, {"OPENAI_API_KEY": KEY})
        ours.apply("--wait")
        server.forget()
        files = sorted(repo.root.rglob("*"))
        found = checks(ours)
        assert sorted(repo.root.rglob("*")) == files
        assert set(server.changes) == {
            "POST /v1/fine_tuning/jobs/ftjob-there-is-no-such-job/pause",
            "POST /v1/fine_tuning/jobs/ftjob-there-is-no-such-job/no-such-operation",
        }
    assert {check["state"] for check in found.values()} == {"ok"}
    assert found["choice of server"]["found"] == f"{server.url}, from --server"
    assert found["owner"]["found"] == f"{OWNER}, from reconciler.yaml"
    assert found["key's variable"]["found"] == "OPENAI_API_KEY is set"
    assert "pause" in found


def test_a_wrong_key_is_a_failed_check_of_its_own(repo: Repo, tmp_path: Path) -> None:
    with recording(tmp_path / "server", key=f"{KEY}-right") as server:
        found = checks(Repo(repo.root, server.url, {"OPENAI_API_KEY": KEY}), code=1)
    assert (found["server"]["state"], found["key"]["state"]) == ("ok", "failed")
    assert "OPENAI_API_KEY" in found["key"]["hint"]


def test_a_server_out_of_reach_leaves_the_rest_unknown(repo: Repo) -> None:
    found = checks(Repo(repo.root, "http://127.0.0.1:9/v1"), code=1)
    assert found["server"]["state"] == "failed"
    assert {found[name]["state"] for name in ("key", "metadata filter", "pause", "clock")} == {"unknown"}


def test_no_server_at_all_names_both_ways(repo: Repo) -> None:
    chosen = checks(repo, code=1)["choice of server"]
    assert "OPENAI_API_KEY" in chosen["hint"]
    assert "--server local" in chosen["hint"]


def test_bad_settings_do_not_keep_the_server_from_being_looked_at(repo: Repo, tmp_path: Path) -> None:
    repo.write("reconciler.yaml", f"owner: {OWNER}\nserfer: x\n")
    with recording(tmp_path / "server") as server:
        found = checks(Repo(repo.root, server.url), "--owner", OWNER, code=1)
    assert "reconciler.yaml:2:1" in found["settings"]["found"]
    assert (found["server"]["state"], found["owner"]["found"]) == ("ok", f"{OWNER}, from --owner")


def test_settings_that_cannot_be_read_are_not_replaced_by_others(repo: Repo, tmp_path: Path) -> None:
    repo.write("reconciler.yaml", f"owner: {OWNER}\nserfer: x\n")
    with recording(tmp_path / "server", key=KEY) as server:
        found = checks(Repo(repo.root, None, {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": KEY}), code=1)
        assert not server.changes
    assert {found[name]["state"] for name in ("choice of server", "owner", "key", "pause")} == {"unknown"}
    assert "reconciler.yaml" in found["choice of server"]["found"]


@pytest.mark.parametrize("server", [None, "local", "http://127.0.0.1:9/v1"], ids=["none", "local", "out of reach"])
def test_every_check_has_a_row_whatever_fails(repo: Repo, server: str | None) -> None:
    found = checks(Repo(repo.root, server), code=0 if server == "local" else 1)
    assert list(found) == [
        "versions", "settings", "owner", "choice of server", "key's variable", "lag", "server", "key",
        "metadata filter", "pause", "clock",
    ]  # fmt: skip


def test_a_key_s_variable_that_is_not_set_is_named(repo: Repo, tmp_path: Path) -> None:
    with recording(tmp_path / "server") as server:
        found = checks(Repo(repo.root, server.url))
        assert found["key's variable"]["found"] == "OPENAI_API_KEY is not set: no key is sent"
        repo.write(
            "reconciler.yaml", f"owner: {OWNER}\nservers: {{ours: {{base_url: '{server.url}', key_env: OUR_KEY}}}}\n"
        )
        found = checks(Repo(repo.root, "ours"), code=1)
    assert "OUR_KEY, which is not set" in found["choice of server"]["found"]


def test_an_embedded_server_that_does_not_run_is_not_started(repo: Repo) -> None:
    found = checks(Repo(repo.root, "local"))
    assert found["server"]["state"] == "unknown"
    assert not (repo.root / ".reconciler").exists()


@pytest.mark.parametrize(
    ("rule", "name", "words"),
    [
        ("fault: unfiltered", "metadata filter", "is ignored"),
        ("fault: {kind: skew, seconds: 7200}", "clock", "ahead of this machine's"),
        ("fault: {kind: error, status: 405}\n    match: {method: POST, path: '.*/pause'}", "pause", "cannot pause"),
    ],
    ids=["ignores the filter", "skewed", "cannot pause"],
)
def test_what_a_server_lacks_is_a_warning(repo: Repo, tmp_path: Path, rule: str, name: str, words: str) -> None:
    with recording(tmp_path / "server", chaos=chaos(tmp_path, rule)) as server:
        ours = Repo(repo.root, server.url)
        ours.apply()
        found = checks(ours)
    assert (found[name]["state"], words in found[name]["found"]) == ("warning", True), found[name]


def test_a_person_sees_a_table_that_ends_in_a_count(repo: Repo) -> None:
    said = Repo(repo.root, "local").run("doctor").out
    assert said.startswith("CHECK")
    assert said.rstrip().endswith("unknown.")
