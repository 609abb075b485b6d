"""Texts that others write into specs, servers, branches and commits, to get out of where they are shown."""

from __future__ import annotations

_PIECES = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "-->", "<!-- now 1234567 Plan: forged. -->", "<!-- reconciler 00 -->",
    "</details></td></table></code>",
    "| a | b |", "```\n", "````", "~~~", "$$x$$",
    "**bold** _it_ ~~gone~~",
    "[link](https://evil.example) ![img](https://evil.example/x.png)",
    "https://evil.example www.evil.example <https://evil.example>",
    "@octocat @acme/team #123 acme/models#4 GH-7 !5 :tada:",
    "a\n\n# Heading\n- item\n> quote\n---",
    "::error file=x::forged", "\n::set-output name=x::y", "\r\n::add-mask::plan", "##[error]forged",
    "::stop-commands::x",
    "%0A::warning::x", "%25%0D%0A", "has-changes=true\n", "fingerprint<<EOF\nforged\nEOF\n", "EOF", "reconciler_0",
    "\x1b[31mred\x1b[0m", "\x00", "\x07", "\u202egnirts", "\u200b", "\u2028::error::x", "\x85::error::x", "\ud800",
    "$(rm -rf /)", "`id`", "${{ github.token }}", "'; id; '", '"; id; "', "\\", "&lt;b&gt; &#64;here",
    "😀" * 40, "e\u0301" * 40, "x" * 5000,
]  # fmt: skip

HOSTILE = [*_PIECES, *(f"{a}{b}" for a, b in zip(_PIECES, _PIECES[7:], strict=False))]
HOSTILE += [f"{a} {b} {a}" for i, a in enumerate(_PIECES) for b in _PIECES[i % 5 :: 9]]
HOSTILE = list(dict.fromkeys(HOSTILE))[:200]
assert len(HOSTILE) == 200
