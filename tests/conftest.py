"""What holds for every test: none knows that it may itself run in a pipeline."""

from __future__ import annotations

import os

for name in [name for name in os.environ if name.startswith(("GITHUB_", "RUNNER_", "ACTIONS_"))]:
    del os.environ[name]
