"""Draw docs/watch.svg: the dashboard of a watch at a terminal, in front of the play that its tests use.

Run it after a change of how the dashboard looks. With a directory, pictures of all its pages go there, to be looked at.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "unit" / "tui")]

from stage import Play, classic  # noqa: E402 - found only now

from reconciler.report.svg import without_fonts  # noqa: E402

PAGES: dict[str, tuple[tuple[int, int], list[str]]] = {
    "80": ((80, 24), []),
    "200": ((200, 40), []),
    "job": ((100, 32), ["j"] * 5 + ["enter"]),
    "failed": ((80, 24), ["enter"]),
    "plan": ((100, 24), ["a"]),
    "edit": ((80, 24), ["j", "j", "j", "p"]),
    "find": ((80, 24), ["slash", *"run"]),
    "help": ((80, 24), ["question_mark"]),
}


def play() -> Play:
    """Return the play, with something said already."""
    shown = classic()
    shown.voice.say(
        f"Watching {len(shown.specs)} specs of example.com/models on https://api.example.com/v1, every 30 s."
    )
    shown.look()
    for words, level, spec in (
        ("uploading specs/data/router.jsonl (3.5 kB)", "info", None),
        ("created router: no job of revision 809a33c1 exists (ftjob-router)", "info", "router"),
        ("support-tone: running (ftjob-support-tone)", "info", "support-tone"),
        ("specs/broken.yaml:2:1: modle: is no field; did you mean model? Its last good version stands.", "error", None),
        ("paused legal-clauses: the spec says paused (ftjob-legal-clauses)", "info", "legal-clauses"),
    ):
        shown.voice.say(words, level, spec=spec)
    return shown


async def drawn(size: tuple[int, int], keys: list[str]) -> str:
    """Return a page as SVG."""
    app = play().app()
    async with app.run_test(size=size) as pilot:
        await pilot.pause(1)
        for key in keys:
            await pilot.press(key)
            await pilot.pause(0.5)
        await pilot.pause(1)
        return without_fonts(
            re.sub(r"terminal-\d+", "watch", app.export_screenshot(title="reconciler watch", simplify=True))
        )


async def main() -> None:
    if len(sys.argv) == 1:
        (ROOT / "docs" / "watch.svg").write_text(await drawn((132, 30), []) + "\n", encoding="utf-8")
    for directory in sys.argv[1:]:
        for name, (size, keys) in PAGES.items():
            (Path(directory) / f"{name}.svg").write_text(await drawn(size, keys), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
