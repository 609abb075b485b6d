"""Draw docs/plan.svg: a real plan against a real server, as a terminal shows it.

The repository's own specs are applied to an embedded server that trains slowly; then a few of them are edited, as a
colleague might, and the plan that follows is drawn. Run it after a change of how plans look.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reconciler.plan.saved import load
from reconciler.report.svg import plan_svg

ROOT = Path(__file__).resolve().parent.parent
EDITS = {
    "inbox.yaml": ("n_epochs: 3, batch_size: 8", "n_epochs: 4, batch_size: 8"),
    "units.yaml": ("batch_size: [4, 16]", "batch_size: [16]"),
    "confirm.yaml": ("suffix: confirm", "suffix: confirm\nstate: paused"),
}


def main() -> None:
    """Make the picture anew."""
    with tempfile.TemporaryDirectory() as directory:
        repository = Path(directory)
        shutil.copytree(ROOT / "specs", repository / "specs")
        shutil.copy(ROOT / "reconciler.yaml", repository)
        serve = subprocess.Popen(
            [sys.executable, "-m", "reconciler", "serve", "--speed", "0.02", "--concurrency", "8", "--port", "0"],
            cwd=repository,
            stderr=subprocess.DEVNULL,
        )
        try:
            time.sleep(2)
            _run(repository, "apply", "--auto-approve")
            time.sleep(3)
            for name, (old, new) in EDITS.items():
                path = repository / "specs" / name
                text = path.read_text(encoding="utf-8")
                if old not in text:
                    raise SystemExit(f"{name} no longer says {old!r}: choose another edit")
                path.write_text(text.replace(old, new), encoding="utf-8")
            _run(repository, "plan", "--out", "plan.json")
            plan = load((repository / "plan.json").read_text(encoding="utf-8")).plan
        finally:
            serve.terminate()
            serve.wait()
    (ROOT / "docs" / "plan.svg").write_text(plan_svg(plan), encoding="utf-8")


def _run(repository: Path, *arguments: str) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "RECONCILER_"))}
    command = [sys.executable, "-m", "reconciler", *arguments, "--server", "local"]
    subprocess.run(command, cwd=repository, env=environment, check=True)


if __name__ == "__main__":
    main()
