"""CONTRIBUTING.md shows the package as it is."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_map_of_the_package_is_current() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "package_map.py"))
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert guide == script["render"](guide), "run: python scripts/package_map.py"


def test_every_module_says_what_it_is() -> None:
    sentence = runpy.run_path(str(ROOT / "scripts" / "package_map.py"))["sentence"]
    assert [path for path in (ROOT / "reconciler").rglob("*.py") if not sentence(path).endswith((".", "?"))] == []
