"""A plan as a picture: what a terminal shows, as SVG that asks nobody for a font."""

from __future__ import annotations

import io
import re

from reconciler.plan.model import Plan
from reconciler.report.plan_text import render_plan

_FONT_FACE = re.compile(r"@font-face\s*\{[^}]*\}\s*")
_FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace"


def plan_svg(plan: Plan, *, width: int = 100, command: str = "reconciler plan") -> str:
    """Render a plan as a terminal ``width`` cells wide shows it after ``command``; equal plans, equal bytes."""
    from rich.console import Console  # noqa: PLC0415 - only this picture and live progress need rich
    from rich.text import Text  # noqa: PLC0415

    console = Console(
        record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="standard", legacy_windows=False
    )
    shell = f"\x1b[2m$\x1b[0m {command}\n\n"
    console.print(Text.from_ansi(shell + render_plan(plan, color=True, width=width)), soft_wrap=True)
    svg = console.export_svg(title="", unique_id="plan")
    return without_fonts(svg)


def without_fonts(svg: str) -> str:
    """Return what rich draws, with the reader's own fonts: none is loaded from elsewhere."""
    return _FONT_FACE.sub("", svg).replace("Fira Code, monospace", _FONTS).replace("Fira Code", "monospace")
