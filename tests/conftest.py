"""What holds for every test: none knows that it may itself run in a pipeline, and none is judged by a busy machine."""

from __future__ import annotations

import os

from hypothesis import settings

for name in [name for name in os.environ if name.startswith(("GITHUB_", "RUNNER_", "ACTIONS_"))]:
    del os.environ[name]

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
