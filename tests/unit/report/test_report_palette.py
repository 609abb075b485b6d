from __future__ import annotations

import re

import pytest

from reconciler.report.palette import DARK, LIGHT, SERIES


def luminance(color: str) -> float:
    digits = color.lstrip("#")
    parts = [
        int(p * (2 if len(digits) == 3 else 1), 16) / 255 for p in re.findall(".." if len(digits) == 6 else ".", digits)
    ]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["ground", "card"])
@pytest.mark.parametrize("text", ["ink", "soft", "good", "bad"])
def test_text_can_be_read_on_every_ground(theme: str, ground: str, text: str) -> None:
    colors = dict(re.findall(r"--(\w+):(#\w+)", theme))
    assert contrast(colors[text], colors[ground]) >= 4.5


@pytest.mark.parametrize("line", [0, 7], ids=["train", "validation"])
def test_the_lines_of_a_job_stand_out_from_the_ground(line: int) -> None:
    light, dark = (dict(re.findall(r"--(\w+):(#\w+)", theme))["card"] for theme in (LIGHT, DARK))
    assert contrast(SERIES[line][0], light) >= 3
    assert contrast(SERIES[line][1], dark) >= 3
