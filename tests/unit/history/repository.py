"""Git repositories of specs, made commit by commit, with what history reads of them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.cache import Cache
from reconciler.history.commits import Past, read_past
from reconciler.spec.load import load

_SET = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    **{
        f"GIT_{who}_{what}": f"{what.lower()}@example.com"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    },
}


@dataclass
class Specs:
    """A repository; each commit is a minute later than the one before."""

    root: Path
    time: int = 1_700_000_000
    env: Mapping[str, str] = field(default_factory=dict)

    def git(self, *arguments: str | bytes, **more: str) -> str:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        done = subprocess.run(
            ["git", "-C", str(self.root), *arguments], env={**kept, **_SET, **more}, capture_output=True, check=True
        )
        return done.stdout.decode(errors="replace").strip()

    @classmethod
    def make(cls, root: Path) -> Specs:
        specs = cls(root)
        root.mkdir(parents=True, exist_ok=True)
        specs.git("init", "-q", "-b", "main")
        specs.write("reconciler.yaml", "owner: example.com/us\n")
        specs.write(".gitignore", ".reconciler/\n")
        specs.rows("one")
        return specs

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def rows(self, word: str, path: str = "specs/data/train.jsonl") -> None:
        """Write training data; another word makes other data."""
        turns = [{"role": "user", "content": word}, {"role": "assistant", "content": "yes"}]
        self.write(path, f"{json.dumps({'messages': turns})}\n" * 10)

    def spec(self, name: str, *, file: str | None = None, **fields: Any) -> None:
        given = {"name": name, "model": "gpt-4.1-nano-2025-04-14", "training_file": "data/train.jsonl", **fields}
        self.write(f"specs/{file or name}.yaml", json.dumps(given))

    def commit(self, subject: str, *more: str | bytes) -> str:
        self.time += 60
        self.git("add", "-A")
        self.git(*(more or ("commit", "-q", "--allow-empty", "-m", subject)), GIT_COMMITTER_DATE=f"@{self.time} +0000")
        return self.git("rev-parse", "HEAD")

    def past(
        self, environment: str | None = None, cache: Path | None = None, paths: tuple[str, ...] = ("specs",)
    ) -> Past:
        """Read history as the program does, from the working directory, which has to be the root."""
        desired = load(paths, environment=environment).desired
        return read_past(Path.cwd(), paths, environment, desired, Cache(cache))

    def subjects(self, name: str, **more: Any) -> list[str]:
        """Return the subjects of the commits that brought a spec's revisions, oldest first."""
        return [v.subject for v in self.past(**more).versions if v.name == name]
