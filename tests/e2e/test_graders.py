"""``reconciler serve`` with graders that its owner allows, and those that nobody allowed."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import openai
import pytest
from program import KEY, Repo, end

CODE: Any = {"type": "python", "name": "code", "source": "def grade(sample, item): return len(sample['output_text'])"}
JUDGE: Any = {"type": "score_model", "name": "judge", "model": "m", "input": [{"role": "user", "content": "Grade."}]}


def test_a_server_runs_what_its_owner_allows(tmp_path: Path) -> None:
    allowed = {"RECONCILER_PYTHON_GRADERS": "limited", "RECONCILER_GRADER_URL": "http://127.0.0.1:9/v1"}
    repo = Repo.make(tmp_path, server=None, RECONCILER_GRADER_KEY=KEY, **allowed)
    process = repo.start("serve", "--port", "0")
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[1]
        with openai.OpenAI(base_url=url, api_key="any", max_retries=0, timeout=60) as client:
            graders = client.fine_tuning.alpha.graders
            assert graders.run(grader=CODE, model_sample="four").reward == 4
            asked = graders.run(grader=JUDGE, model_sample="four")
            assert asked.metadata.errors.api_model_grader_server_error
    finally:
        result = end(process, signal.SIGTERM)
    repo.check(result)
    assert result.code == 0


@pytest.mark.parametrize("arguments", [("serve", "--port", "0"), ("plan", "--server", "local")])
def test_a_setting_that_nobody_knows_is_wrong_usage(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    repo = Repo.make(tmp_path, server=None, RECONCILER_PYTHON_GRADERS="yes")
    result = repo.run(*arguments, code=64)
    assert "RECONCILER_PYTHON_GRADERS" in result.err
    assert "isolated" in result.err
