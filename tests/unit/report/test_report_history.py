"""The table, the document and the page of a spec's attempts, and the blocks of a lineage."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from reconciler.history.attempts import Attempt, Data, Origin
from reconciler.history.commits import Version
from reconciler.history.lineage import Generation
from reconciler.history.losses import Losses
from reconciler.observe.state import ObservedJob
from reconciler.report.document import to_text
from reconciler.report.history import history_json, render_history
from reconciler.report.history_html import history_html
from reconciler.report.layout import cells
from reconciler.report.lineage import lineage_json, render_lineage

HOSTILE = "</title><script>alert(1)</script>\x1b[2J\u202e\"'&\udce9 url(https://evil.example/x)"
REVISION = "3f2a91c0" * 8
VERSION = Version("shop", REVISION, "specs/shop.yaml", 1, None, None, "c" * 40, 1_700_000_000, "Say it better")


def attempt(number: int = 1, *, version: Version | None = VERSION, losses: Losses | None = None, **job: Any) -> Attempt:
    given = {
        "name": "shop", "revision": REVISION, "status": "succeeded", "created_at": 1_700_000_000 + number,
        "finished_at": 1_700_000_250 + number, "trained_tokens": 12_345, "training_file": "file-1",
        "fine_tuned_model": "ft:m:o:s:1", "seed": 7, "model": "m",
        "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3, "beta": 0.1}}},
    }  # fmt: skip
    made = ObservedJob(id=f"ftjob-{number}", attempt=number, **{**given, **job})
    curve = Losses(((1, 2.0), (2, 1.0), (3, 0.5)), (), None)
    return Attempt(Origin(made, version, Data("file-1", "d" * 64, "specs/data/train.jsonl"), None), losses or curve)


class Page(HTMLParser):
    """Collects what a browser would see; every element that is opened is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    @property
    def lines(self) -> list[str]:
        return [str(a["d"]) for tag, a in self.tags if tag == "path" and "class" not in a]


def test_a_row_says_all_of_an_attempt() -> None:
    text = render_history("shop", [attempt()], [], color=False, width=None)
    head, row, blank, end = text.splitlines()
    assert head.split() == [
        "REVISION", "STATUS", "TOOK", "TOKENS", "LOSS", "VALID", "DATA",
        "CREATED", "COMMIT", "SETTINGS", "JOB", "MODEL",
    ]  # fmt: skip
    assert re.split(r"\s{2,}", row) == [
        "3f2a91c0 #1", "succeeded", "4m 10s", "12,345", "0.5", "dddddddd", "2023-11-14T22:13:21Z",
        "cccccccccc Say it better", "beta=0.1 n_epochs=3 seed=7", "ftjob-1", "ft:m:o:s:1",
    ]  # fmt: skip
    assert (blank, end) == ("", "shop: 1 job of 1 revision, 12,345 tokens trained.")


def test_a_narrow_terminal_shows_the_rest_below_each_row_in_line() -> None:
    version = Version(
        "shop", REVISION, "specs/shop.yaml", 1, None, None, "c" * 40, 1, "Say it as our customers have done"
    )
    text = render_history("shop", [attempt(version=version)], [], color=False, width=52)
    assert text.splitlines()[:6] == [
        "REVISION     STATUS       TOOK  TOKENS  LOSS  VALID",
        "3f2a91c0 #1  succeeded  4m 10s  12,345   0.5",
        "  data      dddddddd",
        "  created   2023-11-14T22:13:21Z",
        "  commit    cccccccccc Say it as our customers have",
        "            done",
    ]


@pytest.mark.parametrize("width", [20, 40, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    attempts = [attempt(n, error_message="why " * 30, fine_tuned_model="ft:" + "x" * 60) for n in (2, 1)]
    text = render_history("shop", attempts, ["a note " * 20], color=False, width=width)
    line = render_lineage([generation(each) for each in attempts], ["a note " * 20], color=False, width=width)
    assert max(map(cells, (text + line).splitlines())) <= max(width, 32)
    assert "commit" in text.lower()


def test_what_is_not_known_is_left_out_or_said() -> None:
    bare = attempt(version=None, losses=Losses(), finished_at=None, trained_tokens=None, method={}, seed=None)
    bare = Attempt(Origin(bare.job, None, Data("file-1"), None), Losses())
    text = render_history("shop", [bare], [], color=False, width=None)
    assert "no commit has this revision" in text
    assert "file-1" in text
    (said,) = history_json("shop", [bare], ["note"])["attempts"]
    unknown = {"committed", "commit", "commit_time", "subject", "source", "seconds", "train_loss", "seed", "method"}
    assert {said[key] for key in unknown} == {None}
    assert said["hyperparameters"] == {}
    assert said["training_file"] == {"id": "file-1", "sha256": None, "path": None}
    page = Page(history_html("shop", [bare], []))
    assert page.lines == []
    assert "svg" not in {tag for tag, _ in page.tags}


def test_a_job_of_another_name_says_what_it_was_called() -> None:
    assert "3f2a91c0 #1 as old" in render_history("shop", [attempt(name="old")], [], color=False, width=None)
    assert "<small>as old</small>" in history_html("shop", [attempt(name="old")], [])


def test_hostile_text_stays_text() -> None:
    version = Version("shop", REVISION, HOSTILE, 1, None, None, "c" * 40, 1, HOSTILE)
    bad = attempt(
        version=version, status=HOSTILE, fine_tuned_model=HOSTILE, error_message=HOSTILE, name=HOSTILE,
        method={"type": "dpo", "dpo": {"hyperparameters": {HOSTILE: HOSTILE}}}, revision=HOSTILE,
    )  # fmt: skip
    data = Data(HOSTILE, None, HOSTILE)
    bad = Attempt(Origin(bad.job, version, data, data), bad.losses)
    html = history_html(HOSTILE, [bad], [HOSTILE])
    html.encode()
    page = Page(html)
    assert {tag for tag, _ in page.tags} <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "ul", "li", "i", "div", "section", "svg",
        "path", "text", "g", "circle", "table", "thead", "tbody", "tr", "th", "td", "code", "small", "span",
    }  # fmt: skip
    assert not any(key in {"src", "href", "style"} or key.startswith("on") for _, attrs in page.tags for key in attrs)
    assert "\x1b" not in html
    assert "\u202e" not in html
    made = Generation(HOSTILE, 3, HOSTILE, False, bad.origin)
    for text in (
        render_history(HOSTILE, [bad], [HOSTILE], color=False, width=80),
        render_lineage([made], [HOSTILE], color=False, width=80),
        to_text(history_json(HOSTILE, [bad], [HOSTILE])),
        to_text(lineage_json([made], [HOSTILE])),
    ):
        assert text.replace("\n", "").isprintable()
        text.encode()


def test_the_page_lets_nothing_run_and_asks_nobody() -> None:
    html = history_html("shop", [attempt()], [])
    policy = next(a["content"] for t, a in Page(html).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert str(policy).startswith("default-src 'none'; style-src 'sha256-")
    assert "://" not in html
    assert "url(" not in html
    assert "@import" not in html


def test_the_newest_attempts_have_colours_and_the_older_ones_share_one() -> None:
    attempts = [attempt(n) for n in range(12, 0, -1)]
    html = history_html("shop", attempts, [])
    page = Page(html)
    assert len(page.lines) == 12
    drawn = [a["class"] for tag, a in page.tags if tag == "g" and a["class"] != "lines"]
    assert drawn == [*["old"] * 4, *[f"s{i}" for i in range(8, 0, -1)]], "the newest is drawn last, so on top"
    key = html[html.index('<ul class="key">') : html.index("</ul>")]
    assert key.count("<li>") == 9
    assert "older" in key
    assert "3f2a91c0 #12: 0.5 at step 3" in html


def generation(made: Attempt, **more: Any) -> Generation:
    return Generation(**{"model": "ft:m", "step": None, "owner": "us", "ours": True, "origin": made.origin, **more})


def test_a_lineage_says_whose_a_model_is_and_what_it_came_from() -> None:
    text = render_lineage([generation(attempt(), step=4)], [], color=False, width=None)
    assert text.splitlines() == [
        "ft:m",
        "  checkpoint  step 4",
        "  job         ftjob-1  succeeded  created 2023-11-14T22:13:21Z",
        "  spec        shop  specs/shop.yaml:1",
        "  revision    3f2a91c0 #1",
        "  commit      cccccccccc  Say it better  2023-11-14T22:13:20Z",
        f"  data        specs/data/train.jsonl  sha256:{'d' * 64}  file-1",
        "  settings    beta=0.1 n_epochs=3 seed=7",
        "  base        m",
    ]
    foreign = generation(attempt(name="", revision="", version=None), owner=None, ours=False)
    text = render_lineage([foreign], [], color=False, width=None)
    assert "made outside the specs: no owner" in text
    assert "commit" not in text
    (said,) = lineage_json([foreign], [])["lineage"]
    assert {said["name"], said["revision"], said["commit"], said["owner"]} == {None}
