"""What the page on GitHub shows is valid, and does what it says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from github import Runner, github
from pipeline import ci
from program import KEY, ROOT, Repo
from ruamel.yaml import YAML

from reconciler.ci.workflows import workflows
from reconciler.spec.config import load_config

PAGE = (ROOT / "docs/github.md").read_text(encoding="utf-8")
SETTINGS, WRITTEN_BACK, PIPELINE = (
    re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)
    for indent, text in re.findall(r"^( *)```yaml\n(.*?)^\1```", PAGE, re.MULTILINE | re.DOTALL)
)


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo.make(tmp_path / "repo", server=None, RECONCILER_SERVER="local", OPENAI_API_KEY=KEY)
    repo.spec("a")
    return repo


def test_the_settings_name_a_server_and_its_key(repo: Repo) -> None:
    repo.write("reconciler.yaml", SETTINGS)
    config, _ = load_config(repo.root)
    assert config.server == "openai"
    assert config.servers["openai"].key_env == "OPENAI_API_KEY"


def test_models_are_written_back_by_inputs_that_the_action_has() -> None:
    [step] = YAML(typ="safe").load(WRITTEN_BACK)
    assert set(step["with"]) <= set(YAML(typ="safe").load(ROOT / "action.yml")["inputs"])


def test_the_page_names_every_file_that_init_writes(tmp_path: Path) -> None:
    paths = workflows(tmp_path, f"acme/reconciler@{'a' * 40}")
    assert [path.name for path in paths if path.name not in PAGE] == []


def test_gitlab_takes_its_pipeline(tmp_path: Path) -> None:
    file = tmp_path / ".gitlab-ci.yml"
    file.write_text(PIPELINE, encoding="utf-8")
    tool = Path(sysconfig.get_path("scripts"), "check-jsonschema")
    arguments = ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", str(file)]
    subprocess.run([tool, *arguments], check=True, capture_output=True, timeout=60)


def test_the_pipeline_of_gitlab_plans_buys_and_looks_for_drift(repo: Repo) -> None:
    jobs: dict[str, Any] = YAML(typ="safe").load(PIPELINE)
    ran, base = [], repo.commit()
    for name in ("plan", "apply", "drift"):
        for line in jobs[name]["script"]:
            program, *arguments = shlex.split(line.replace("$CI_MERGE_REQUEST_DIFF_BASE_SHA", base))
            ran.append(repo.run(*arguments).out)
            assert program == "reconciler"
    assert "1 to create" in ran[0]
    assert (repo.root / jobs["plan"]["artifacts"]["paths"][0] / "plan.json").is_file()
    assert "Applied: 1 done" in ran[1]
    assert "no drift" in ran[2].lower()


def test_an_enterprise_server_is_spoken_to_where_its_runner_says(repo: Repo, tmp_path: Path) -> None:
    with github(prefix="/api/v3") as stand:
        ci(repo, Runner(tmp_path / "runner", repo.root, stand.url, base=repo.commit()).pull_request())
        assert "1 to create" in stand.bodies()[0]
