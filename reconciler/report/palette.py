"""The colours of pages, as CSS variables: one palette for reports and the dashboard."""

from __future__ import annotations

SERIES = (
    ("#2a78d6", "#3987e5"),
    ("#1baf7a", "#199e70"),
    ("#eda100", "#c98500"),
    ("#008300", "#008300"),
    ("#4a3aa7", "#9085e9"),
    ("#e34948", "#e66767"),
    ("#e87ba4", "#d55181"),
    ("#eb6834", "#d95926"),
)
"""Of lines, on light and on dark ground; neighbours differ for the colour-blind too."""

LIGHT = (
    "--ground:#fcfcfb;--card:#fff;--ink:#1b1b1a;--soft:#62605b;--line:#e4e3df;--good:#1a7f37;--bad:#c62828;"
    + "".join(f"--s{i}:{light};" for i, (light, _) in enumerate(SERIES, 1))
    + "--old:#b5b3ac"
)
DARK = (
    "--ground:#161615;--card:#1f1f1d;--ink:#ecebe7;--soft:#a3a19a;--line:#34332f;--good:#4ac26b;--bad:#ff7b72;"
    + "".join(f"--s{i}:{dark};" for i, (_, dark) in enumerate(SERIES, 1))
    + "--old:#5d5b55"
)
