"""Runs ``reconciler ci`` as a step of a pipeline: in this process, with a runner's variables."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Mapping
from pathlib import Path

from github import TOKEN
from program import KEY, Repo, Result, environment

from reconciler.cli.main import run


def ci(repo: Repo, env: Mapping[str, str], *arguments: str, code: int | None = 0) -> Result:
    """Run the step in this process, and insist on its exit code (None: any) and that no secret is anywhere.

    What only tells the runner to mask the key is taken out: the runner shows it to nobody.
    """
    before = dict(os.environ)
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    try:
        os.environ.clear()
        os.environ.update(environment(**{**repo.env, **env}))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(repo.root):
            ended = run(["ci", *arguments])
    finally:
        os.environ.clear()
        os.environ.update(before)
    said = out.buffer.getvalue().decode()
    if env.get("GITHUB_ACTIONS") == "true":
        said = re.sub(rf"^::\w+::\n::add-mask::{KEY}\n::stop-commands::\w+\n", "", said, flags=re.MULTILINE)
    done = Result(ended, said, err.buffer.getvalue().decode())
    assert "Traceback" not in done.said
    assert "fault of the program" not in done.said
    assert code is None or done.code == code, done.said
    left = [Path(env[name]).read_text(encoding="utf-8") for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")]
    for text in (done.said, *left):
        assert TOKEN not in text
        assert KEY not in text
    return done
