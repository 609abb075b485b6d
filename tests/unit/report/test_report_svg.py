from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from reconciler.plan.model import Action, Change, Difference, Plan
from reconciler.report.svg import plan_svg

PLAN = Plan.of(
    "github.com/acme/models",
    "https://api.example/v1",
    [
        Change("triage", Action.CREATE, "no job", diff=(Difference("seed", None, "7"),)),
        Change("a<b>&\x1b[2J", Action.CANCEL, "gone </svg><script>alert(1)</script>"),
    ],
)


def test_a_picture_shows_the_command_and_the_plan() -> None:
    root = ET.fromstring(plan_svg(PLAN))
    text = " ".join("".join(root.itertext()).replace("\xa0", " ").split())
    for words in ("$ reconciler plan", "triage", "no job", "(unset)", "Plan: 1 to create, 1 to cancel."):
        assert words in text


def test_a_picture_asks_nobody_for_anything() -> None:
    svg = plan_svg(PLAN)
    assert "@font-face" not in svg
    assert not re.findall(r"url\((?!#)|href=|<script|@import", svg)


def test_equal_plans_are_equal_bytes() -> None:
    assert plan_svg(PLAN) == plan_svg(Plan.of(PLAN.owner, PLAN.server, reversed(PLAN.changes)))


def test_the_width_is_the_terminals() -> None:
    def width(cells: int) -> float:
        return float(ET.fromstring(plan_svg(PLAN, width=cells)).attrib["viewBox"].split()[2])

    assert width(80) < width(100)
