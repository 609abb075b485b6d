"""Every attempt at a spec as one page: the losses over one another, and a table. It asks no other host for anything."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape

from reconciler.history.attempts import Attempt
from reconciler.report.curves import Curve, chart
from reconciler.report.escape import clean
from reconciler.report.figures import duration, number, timestamp
from reconciler.report.history import commit_words, conclusion, data_words, settings, took
from reconciler.report.palette import DARK, LIGHT, SERIES
from reconciler.report.words import revision

_SERIES = "".join(f".s{i}{{--c:var(--s{i})}}" for i in range(1, len(SERIES) + 1))
"""Colours of the newest attempts; others are grey."""

_STYLE = f"""
:root{{color-scheme:light dark;{LIGHT}}}
@media (prefers-color-scheme:dark){{:root{{{DARK}}}}}
*{{box-sizing:border-box}}
body{{margin:0 auto;max-width:78rem;padding:2rem 1.25rem 4rem;background:var(--ground);color:var(--ink);
font:15px/1.5 system-ui,sans-serif}}
h1{{margin:0;font-size:1.6rem;letter-spacing:-.01em;overflow-wrap:anywhere}}
h2{{margin:0 0 .5rem;font-size:.95rem}}
p{{margin:.25rem 0 1.25rem;color:var(--soft)}}
.key{{display:flex;flex-wrap:wrap;gap:.35rem 1.25rem;margin:0 0 1rem;padding:0;list-style:none;font-size:.85rem}}
i{{display:inline-block;width:.7rem;height:.7rem;margin-right:.45rem;border-radius:2px;background:var(--c)}}
.charts{{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:1rem;margin-bottom:1.5rem}}
section{{padding:1rem 1rem .5rem;border:1px solid var(--line);border-radius:8px;background:var(--card)}}
svg{{display:block;width:100%;height:auto}}
.grid{{stroke:var(--line);stroke-width:1}}
.tick,.axis{{fill:var(--soft);font-size:12px;font-variant-numeric:tabular-nums}}
.lines path{{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round;stroke-linecap:round}}
.lines .near{{stroke:transparent;stroke-width:14}}
.lines circle{{fill:var(--c);stroke:var(--card);stroke-width:1.5}}
.lines g{{transition:opacity .12s}}
.lines:hover g{{opacity:.2}}
.lines g:hover{{opacity:1}}
.table{{overflow-x:auto;border:1px solid var(--line);border-radius:8px;background:var(--card)}}
table{{border-collapse:collapse;width:100%;font-size:.85rem}}
th,td{{padding:.5rem .8rem;text-align:left;vertical-align:top;white-space:nowrap}}
th{{color:var(--soft);font-weight:500}}
tbody tr{{border-top:1px solid var(--line)}}
td.n,th.n{{text-align:right;font-variant-numeric:tabular-nums}}
td.wide{{min-width:17rem;white-space:normal;overflow-wrap:break-word}}
code{{font:.92em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}}
small{{display:block;color:var(--soft)}}
.good{{color:var(--good)}}.bad{{color:var(--bad)}}
.old{{--c:var(--old)}}{_SERIES}
"""

_TONES = {"succeeded": "good", "failed": "bad"}

_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_HEAD = {
    "Revision": "",
    "Status": "",
    "Created": "",
    "Took": "n",
    "Tokens": "n",
    "Loss": "n",
    "Validation": "n",
    "Commit": "",
    "Data": "",
    "Settings": "",
    "Model and job": "",
}
"""The columns; ``n`` are numbers."""


def history_html(name: str, attempts: Sequence[Attempt], notes: Sequence[str]) -> str:
    """Return the page. Nothing foreign in it can become markup, and its policy allows no script and no request."""
    styles = [f"s{i + 1}" if i < len(SERIES) else "old" for i in range(len(attempts))]
    rows = "\n".join(_row(attempt, style, name) for attempt, style in zip(attempts, styles, strict=True))
    head = "".join(f'<th class="{kind}" scope="col">{title}</th>' for title, kind in _HEAD.items())
    said = "".join(f"<p>{_text(note)}</p>\n" for note in notes)
    return f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-{_HASH}'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>History of {_text(name)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{_text(name)}</h1>
<p>{_text(conclusion(name, attempts))}</p>
{said}{_charts(attempts, styles)}<div class="table"><table>
<thead><tr>{head}</tr></thead>
<tbody>
{rows}
</tbody>
</table></div>
</body>
</html>
"""


def _text(text: str) -> str:
    return escape(clean(text))


def _label(attempt: Attempt) -> str:
    return clean(revision(attempt.job.revision, attempt.job.attempt))


def _charts(attempts: Sequence[Attempt], styles: Sequence[str]) -> str:
    labels = [_label(attempt) for attempt in attempts]
    both = [
        ("Training loss", [attempt.losses.train for attempt in attempts]),
        ("Validation loss", [attempt.losses.valid for attempt in attempts]),
    ]
    sections = []
    for title, losses in both:
        drawn = chart(title, "step", [Curve(*each) for each in zip(labels, styles, losses, strict=True)])
        if drawn:
            sections.append(f"<section><h2>{title}</h2>\n{drawn}\n</section>\n")
    if not sections:
        return ""
    shown = [
        (label, s) for label, s, a in zip(labels, styles, attempts, strict=True) if a.losses.train or a.losses.valid
    ]
    return f'{_key(shown)}<div class="charts">\n{"".join(sections)}</div>\n'


def _key(shown: Iterable[tuple[str, str]]) -> str:
    entries = dict.fromkeys((style, "older" if style == "old" else label) for label, style in shown)
    return f'<ul class="key">{"".join(f"<li>{_swatch(style)}{escape(label)}</li>" for style, label in entries)}</ul>\n'


def _swatch(style: str) -> str:
    return f'<i class="{style}"></i>'


def _row(attempt: Attempt, style: str, name: str) -> str:
    job, losses, origin = attempt.job, attempt.losses, attempt.origin
    seconds = took(job)
    digits, subject = commit_words(origin.version)
    error = f"<small>{_text(job.error_message)}</small>" if job.error_message else ""
    was = f"<small>as {_text(job.name)}</small>" if job.name != name else ""
    data = origin.training
    cells = [
        ("", f"{_swatch(style)}<code>{escape(_label(attempt))}</code>{was}"),
        ("wide" if error else "", f'<span class="{_TONES.get(job.status, "")}">{_text(job.status)}</span>{error}'),
        ("", timestamp(job.created_at)),
        ("n", "" if seconds is None else duration(seconds)),
        ("n", "" if job.trained_tokens is None else f"{job.trained_tokens:,}"),
        ("n", "" if losses.final_train is None else number(losses.final_train)),
        ("n", "" if losses.final_valid is None else number(losses.final_valid)),
        ("wide", (f"<code>{escape(digits)}</code> " if digits else "") + _text(subject)),
        (
            "",
            f"<code>{escape(data_words(data))}</code>"
            + (f"<small>{_text(data.path)}</small>" if data and data.path else ""),
        ),
        ("wide", f"<code>{_text(settings(job))}</code>"),
        ("wide", f"<code>{_text(job.fine_tuned_model or '')}</code><small>{_text(job.id)}</small>"),
    ]
    return "<tr>" + "".join(f'<td class="{kind}">{content}</td>' for kind, content in cells) + "</tr>"
