"""A work tree that tests edit, read as a watch reads it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconciler.watch.snapshot import Snapshot
from reconciler.watch.voice import Voice
from reconciler.watch.worktree import WorkTree

ROW = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
LONG_AGO = 1_000_000_000


def spec(name: str, *lines: str, data: str = "data/train.jsonl") -> str:
    return "\n".join([f"name: {name}", "model: m", f"training_file: {data}", *lines, ""])


class Tree:
    """Files below ``root``; ``time`` is what the clocks say. Files are old unless they are written ``fresh``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.time = 5_000_000_000.0
        self.write("reconciler.yaml", "owner: test\n")
        self.write("specs/data/train.jsonl", ROW * 10)
        self.reader = WorkTree(["specs"], None, cwd=root, clock=lambda: self.time, now=lambda: self.time)

    def write(self, path: str, text: str, *, fresh: bool = False) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        LAST[0] += 1
        seconds = self.time if fresh else LONG_AGO + LAST[0]
        os.utime(file, (seconds, seconds))
        return file

    def remove(self, path: str) -> None:
        (self.root / path).unlink()

    async def read(self) -> Snapshot:
        return await self.reader.read()

    async def names(self) -> list[str]:
        return [spec.name for spec in (await self.read()).repository.desired]

    async def revision(self, name: str) -> str:
        return next(spec.revision for spec in (await self.read()).repository.desired if spec.name == name)

    def close(self) -> None:
        self.reader.close()


LAST = [0]


class Heard:
    """A voice whose lines are kept, with their levels and fields."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.levels: list[str] = []
        self.fields: list[Mapping[str, Any]] = []
        self.voice = Voice(self._write)

    def _write(self, message: str, level: str, fields: Mapping[str, Any]) -> None:
        self.lines.append(message)
        self.levels.append(level)
        self.fields.append(fields)
