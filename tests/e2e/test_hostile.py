"""Hostile words in a server's answers stay words, whatever command prints them."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import cycle
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from everything import COMMANDS, OFFLINE, Ended, Everything, everything, unowned
from markdown_it import MarkdownIt
from program import Repo, end
from ruamel.yaml import YAML
from screen import screen
from spiked import Way

from reconciler.errors import ReconcilerError
from reconciler.plan.model import Action, Change, Difference, Plan
from reconciler.report.outputs import outputs
from reconciler.report.plan_markdown import plan_markdown

LONGEST = 20_000
"""Characters of a line in a pipe, where no single text has more than 2,000."""

TEXT = (
    "\x1b[31mred\x1b]8;;https://evil.example\x07link\x9b2J\x08\r\n::error::forged\n| forged | row |\u202e\u2066\u200b"
    "\u2028</script><script>alert(1)</script><img src=x onerror=alert(1)>--><!-- `code` [a](https://evil.example) "
    "@octocat #1 ${HOME} $(id) {{x}} \"quoted\" 'single' \\ end"
)
TEXTS = (
    "::error file=a,line=1::forged",
    "##[group]forged",
    " ::add-mask::forged",
    "words ##[error]forged ##vso[task.complete]",
    "\r\n::set-output name=a::forged",
    "\ud800 alone",
    "\x1b]0;title\x07\x9b2J\x90$q\x9c",
    "\u202e\u2066\ufeff\u200f\u2028\u2029\x85",
    "# heading",
    "- [ ] [a](javascript:alert(1)) ![b](https://evil.example/b.png) <https://evil.example> www.evil.example",
    "<!-- --><details><summary>x</summary></code></td></table><svg onload=alert(1)>`````",
    "long " * 5_000,
    "=cmd|' /C calc'!A0",
    "",
)
ORDER = re.compile(r"##\w*\[")
"""What the log of a CI obeys wherever it stands."""
FILE = "a\x1b[31m\n::error::forged \u202e<script>`|"
OUR_TAGS = {"code", "br", "details", "summary", "sub"}
PAGE_TAGS = {"script", "img", "iframe", "object", "embed", "link", "form", "a"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everything]:
    with pytest.MonkeyPatch.context() as patch, everything(tmp_path_factory.mktemp("hostile"), patch) as made:
        made.spike.text = TEXT
        yield made


def unprintable(text: str) -> set[str]:
    return {character for character in text if not character.isprintable() and character != "\n"}


def faults(ended: Ended) -> list[str]:
    """Say what of a call's output a terminal, a log or a CI would obey."""
    found = []
    for text in (ended.out, ended.err):
        if odd := unprintable(text):
            found.append(f"{ended.call}: {odd}")
        if any(line.lstrip().startswith(("::", "| forged")) for line in text.splitlines()) or ORDER.search(text):
            found.append(f"{ended.call}: a forged line")
    if "--format json" in ended.call and ended.out:
        json.loads(ended.out)
    if "Traceback" in ended.err or "fault of the program" in ended.err:
        found.append(f"{ended.call}: {ended.err}")
    return found


@pytest.mark.parametrize("way", ["values", "refuse", "plain text", "odd", "html", "moved"])
def test_nothing_escapes(world: Everything, way: Way) -> None:
    world.spike.way = way
    follow = ("events", "bad", "--follow", "--server", world.server.url)
    found = [fault for ended in (*world.calls(), world.call(*follow)) for fault in faults(ended)]
    assert found == []


def test_nothing_escapes_where_a_text_stands_alone(world: Everything) -> None:
    world.spike.way = "instead"
    world.spike.texts = cycle(TEXTS)
    printing = [name for name in COMMANDS if name not in OFFLINE | {"apply"}]
    for ended in world.calls(*printing):
        assert faults(ended) == []
        exact = "json" in ended.call or ended.call.startswith("outputs")  # for programs, which need all of it
        assert exact or max(map(len, ended.out.splitlines()), default=0) < LONGEST, ended.call


@pytest.mark.parametrize("text", TEXTS)
def test_what_other_programs_read_of_outputs_is_what_the_server_said(text: str) -> None:
    models = {"a": text, "b": "ft:b"}
    assert YAML(typ="safe").load(outputs(models, "yaml")) == models
    assert json.loads(outputs(models, "json")) == models
    terraform = [line.split(" = ", 1)[1] for line in outputs(models, "tfvars").splitlines()[1:-1]]
    assert [json.loads(value.replace("$${", "${").replace("%%{", "%{")) for value in terraform] == [*models.values()]
    if text.isprintable():
        assert dict(word.split("=", 1) for word in shlex.split(outputs(models, "env"))) == {"A": text, "B": "ft:b"}
    else:
        with pytest.raises(ReconcilerError, match="no environment file can hold"):
            outputs(models, "env")


@pytest.mark.parametrize("text", [TEXT, *TEXTS])
def test_markdown_of_a_plan_has_no_tag_but_ours(text: str) -> None:
    change = Change(
        name=text, action=Action.CREATE, reason=text, job_id=text, diff=(Difference(text, text, text),), notes=(text,)
    )
    said = plan_markdown(Plan.of(text, text, [change], [text], [text]))
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(said)
    flat = [child for token in tokens for child in (token, *(token.children or ()))]
    assert {token.type for token in flat} & {"link_open", "image"} == set()
    html = "".join(token.content for token in flat if token.type in ("html_block", "html_inline"))
    assert set(re.findall(r"</?([a-zA-Z][\w-]*)", html)) <= OUR_TAGS
    assert not re.search(r"<[^>]*=", html)
    assert "<!--" not in html


def test_a_terminal_shows_hostile_words_as_words(world: Everything) -> None:
    world.spike.way = "instead"
    world.spike.texts = cycle(TEXTS)
    for command in (["events", "good"], ["plan", "--verbose"]):
        with screen(world.repo, *command, "--server", world.server.url) as terminal:
            terminal.end()
        plain = re.sub(r"\x1b\[[0-9;]*m|[\r\n]", "", terminal.text)
        assert plain.isprintable(), command


def test_names_of_files_and_commits_are_words_too(world: Everything, tmp_path: Path) -> None:
    world.spike.way = "plain"
    made = Everything(Repo.make(tmp_path / "repo", world.server.url), world.server, world.spike, world.model)
    for name in ("reconciler.yaml", "specs/good.yaml", "specs/data/train.jsonl"):
        made.repo.write(name, (world.repo.root / name).read_text())
    made.call("apply", "--auto-approve", "--target", "good", "--server", world.server.url)
    file = made.repo.write(
        f"specs/{FILE}.yaml",
        "name: odd\nmodel: m\ntraining_file: data/train.jsonl\n"
        "metadata:\n  note: a\n    ::error::forged\n    ##[group]x\n"
        "state: running\n# \u202e\n",
    )
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "--no-verify", "-F", "-"]):
        git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *words]
        subprocess.run(git, cwd=made.repo.root, check=True, input=TEXT.encode("utf-8", "replace"))
    said = list(made.calls("validate", "plan", "status", "history", "trace", "drift", "graph"))
    said += [made.call(verb, "odd", *more) for verb in ("pause", "cancel") for more in (["--dry-run"], [])]
    file.write_text(f"name: odd\nmodel: m\n\"{FILE[:9]}\": 1\ntraining_file: 'data/{TEXTS[0]}'\n", encoding="utf-8")
    said += made.calls("validate", "plan", "graph", "pause")
    assert [fault for ended in said for fault in faults(ended)] == []
    assert "forged" in "".join(ended.out for ended in said if ended.call.startswith("history"))
    page = (made.repo.root / "page.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert unprintable(page) == set()


def test_the_server_logs_what_clients_send_as_words(tmp_path: Path) -> None:
    repo = Repo.make(tmp_path / "repo")
    process = repo.start("serve", "--port", "0", "--directory", "state", "--debug")
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[1]
        with httpx.Client(base_url=url, headers={"X-Request-Id": "::error::a"}, trust_env=False) as http:
            for path in (quote(TEXT, safe=""), "%0A::error::forged", "x?after=%1b%5B2J%0d%0a::error::forged"):
                http.get(f"/fine_tuning/jobs/{path}")
            http.post("/fine_tuning/jobs", json={TEXT: TEXT, "model": TEXT, "training_file": TEXT})
            http.post("/files", files={"file": (TEXT, "{}")}, data={"purpose": TEXT})
    finally:
        done = end(process, signal.SIGINT)
    assert faults(Ended("serve", done.code, done.out, done.err)) == []


def test_markdown_has_no_link_and_no_html_of_theirs(world: Everything) -> None:
    world.spike.way = "values"
    said = world.call("plan", "--format", "markdown", "--server", world.server.url).out
    tokens = MarkdownIt("commonmark").enable("table").parse(said)
    inline = [child for token in tokens for child in token.children or ()]
    assert {token.type for token in inline} & {"link_open", "image"} == set()
    assert "<script" not in said
    assert "<img" not in said
    assert "@octocat" not in said


def test_the_page_has_no_markup_of_theirs(world: Everything) -> None:
    world.spike.way = "values"
    world.call("history", "good", "--html", "page.html", "--server", world.server.url)
    tags: set[str] = set()
    events: set[str] = set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.add(tag)
            events.update(name for name, _ in attrs if name.startswith("on"))

    page = (world.repo.root / "page.html").read_text(encoding="utf-8")
    Reader().feed(page)
    assert tags & PAGE_TAGS == set()
    assert events == set()
    assert unprintable(page) == set()


def test_imported_specs_say_what_was_imported_and_nothing_else(world: Everything) -> None:
    world.spike.way = "values"
    target = world.repo.root / "specs" / "theirs"
    unowned(world.server)
    done = world.call("import", "--unowned", "--out", str(target), "--server", world.server.url)
    written = sorted(target.rglob("*.yaml"))
    texts = [file.read_text(encoding="utf-8") for file in written]
    valid = world.call("validate", str(target))
    for file in written:
        file.unlink()
    assert written, done.out + done.err
    assert [unprintable(text) for text in texts] == [set()] * len(texts)
    assert valid.code == 0, valid.err
    assert valid.out.startswith(f"{len(written)} job")


def test_the_words_are_really_there(world: Everything) -> None:
    world.spike.way = "plain"
    world.call("apply", "--auto-approve", "--wait", "--target", "good", "--server", world.server.url)
    world.spike.way = "values"
    for command in ("events", "checkpoints", "status"):
        assert "forged" in "".join(ended.out for ended in world.calls(command)), command
