"""What opens above the table: a job, the plan that waits, an edit, and the keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.events import Resize
from textual.screen import ModalScreen
from textual.widgets import RichLog, Static

from reconciler.api.types import Event
from reconciler.errors import ApiError
from reconciler.report.escape import clean
from reconciler.report.events import render_event
from reconciler.report.figures import duration, number, timestamp
from reconciler.report.patch import render_patch
from reconciler.report.style import Span
from reconciler.report.words import money, revision
from reconciler.tui.columns import Facts, status_span
from reconciler.tui.plot import plot
from reconciler.tui.reader import Story
from reconciler.tui.rows import Row
from reconciler.tui.table import STYLES

_LABEL = 10


def painted(lines: Iterable[Iterable[Span]]) -> Text:
    """Return lines as text in which nothing is markup."""
    text = Text(no_wrap=True, overflow="ellipsis")
    for number_, line in enumerate(lines):
        text.append("\n" if number_ else "")
        for words, style in line:
            text.append(words, STYLES[style])
    return text


def ansi(rendered: str, *, wrap: bool = False) -> Text:
    """Return what a report has rendered in colour."""
    return Text.from_ansi(rendered.rstrip("\n"), no_wrap=not wrap, overflow="fold" if wrap else "ellipsis")


class Sheet(ModalScreen[bool]):
    """A page above the table, with its keys below; it ends with True where its matter was agreed to."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,n", "back", show=False),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
    ]
    DEFAULT_CSS = """
    Sheet { background: ansi_default; }
    Sheet > #head, Sheet > #keys { height: 1; padding: 0 1; }
    Sheet > VerticalScroll { height: 1fr; padding: 1 1 0 1; scrollbar-size-vertical: 1; }
    Sheet Static { height: auto; }
    """

    def __init__(self, title: str, keys: str) -> None:
        super().__init__()
        self._title, self._keys = title, keys

    def compose(self) -> ComposeResult:
        """Lay out the page."""
        yield Static(painted([[(clean(self._title), "title")]]), id="head")
        yield from self.body()
        yield Static(painted([[(self._keys, "dim")]]), id="keys")

    def body(self) -> ComposeResult:
        """Lay out what is between title and keys."""
        with VerticalScroll():
            yield Static(self.text(), id="text", markup=False)

    def text(self) -> Text:
        """Return what the page says."""
        return Text()

    def action_back(self) -> None:
        """Close the page, agreeing to nothing."""
        self.dismiss(False)

    def action_scroll(self, by: int) -> None:
        """Scroll a line."""
        for page in self.query(VerticalScroll):
            page.scroll_relative(y=by, animate=False)


class Help(Sheet):
    """The keys."""

    KEYS = (
        ("j k ↓ ↑", "the row below, above; PgDn PgUp Home End go further"),
        ("Enter", "open the job: facts, curves, events as they come"),
        ("/", "find rows: words in name, state, reason, job or model; Esc: all"),
        ("o", "sort by state, name, newest, finish"),
        ("a", "see the new runs that wait, with their cost, and approve them"),
        ("p r c", "pause, resume, cancel in the spec's file; shows the change first"),
        ("l", "a larger or smaller log"),
        ("?", "this page"),
        ("q Ctrl-C", "end the watch; the jobs go on"),
    )

    def __init__(self) -> None:
        super().__init__("Keys", "Esc back")

    def text(self) -> Text:
        """Return the keys."""
        lines: list[list[Span]] = [[(f"{keys:<10}", "calm"), (words, "")] for keys, words in self.KEYS]
        return painted(lines)


class Agree(Sheet):
    """Something that is done only once a person says yes to what is shown."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "agree", show=False)]

    def __init__(self, title: str, keys: str, render: Callable[[int], Text]) -> None:
        super().__init__(title, keys)
        self._render_text = render

    def on_resize(self, _: Resize) -> None:
        """Render for the width there is."""
        self.query_one("#text", Static).update(self._render_text(max(self.size.width - 4, 20)))

    def action_agree(self) -> None:
        """Agree, and close the page."""
        self.dismiss(True)


def edit_page(title: str, diff: str) -> Agree:
    """Return a page that shows an edit and asks for it."""
    return Agree(title, "y write it   Esc leave it", lambda _: ansi(render_patch(diff, color=True)))


class JobPage(Sheet):
    """One job: its facts, its curves and its events; what is new is read as long as the page is open."""

    DEFAULT_CSS = """
    JobPage > #facts { padding: 1 1 0 1; height: auto; }
    JobPage > #curve { padding: 1 1 0 1; height: 2fr; max-height: 20; }
    JobPage > RichLog { margin: 1 0; padding: 0 1; height: 2fr; scrollbar-size-vertical: 1; background: ansi_default; }
    """

    def __init__(self, row: Row, story: Story, facts: Callable[[], Facts], every: float) -> None:
        super().__init__(row.name, "j k scroll   Esc back")
        self.row, self._story, self._facts, self._every = row, story, facts, every
        self._error = ""
        self._reading = False
        self._top, self._curve = Static(id="facts", markup=False), Static(id="curve", markup=False)
        self._log_pane = RichLog(wrap=True, markup=False, highlight=False, max_lines=2_000, min_width=20)

    def body(self) -> ComposeResult:
        """Lay out facts, curves and events."""
        yield self._top
        yield self._curve
        yield self._log_pane

    def on_mount(self) -> None:
        """Begin to read."""
        self.set_interval(self._every, self._beat)
        self._beat()

    def show(self, row: Row) -> None:
        """Show the job as it is now."""
        self.row = row
        self._draw()

    def _beat(self) -> None:
        active = self.row.active or not self._story.events
        if active and not self._reading:
            self._reading = True
            self.run_worker(self._read())

    async def _read(self) -> None:
        try:
            fresh, self._error = await self._story.read(), ""
        except ApiError as error:
            fresh, self._error = [], clean(str(error))
        finally:
            self._reading = False
        self._write(fresh)
        self._draw()

    def on_resize(self, _: Resize) -> None:
        """Draw for the size there is."""
        self._log_pane.clear()
        self._write(self._story.events)
        self._draw()

    def _write(self, events: Iterable[Event]) -> None:
        width = max(self.size.width - 4, 40)
        for event in events:
            self._log_pane.write(ansi(render_event(event, color=True, width=width), wrap=True), expand=True)

    def _draw(self) -> None:
        facts, row = self._facts(), self.row
        self._top.update(painted(list(_facts_of(row, facts)) + self._problem()))
        curve = self._curve
        train, valid = self._story.curves
        lines = plot([("warn", valid), ("calm", train)], curve.size.width, curve.size.height - 1)
        if lines:
            legend: list[Span] = [("── train", "calm"), (f" {number(train[-1][1])}" if train else "", "")]
            legend += [("   ── validation", "warn"), (f" {number(valid[-1][1])}", "")] if valid else []
            lines = [[("loss  ", "dim"), *legend], *lines]
        curve.display = bool(lines) or self.row.active
        curve.update(painted(lines or [[("No losses yet.", "dim")]]))

    def _problem(self) -> list[list[Span]]:
        cut: list[list[Span]] = [[("Older events are left out.", "dim")]] if self._story.cut else []
        return cut + ([[(self._error, "alarm")]] if self._error else [])

    def action_scroll(self, by: int) -> None:
        """Scroll the events."""
        self._log_pane.scroll_relative(y=by, animate=False)


def _facts_of(row: Row, facts: Facts) -> Iterable[list[Span]]:
    job, steps = row.job, facts.of(row)
    first: list[Span] = [
        status_span(row.status),
        ("   wanted ", "dim"),
        (row.spec.state if row.spec else "no spec", ""),
    ]
    if steps and steps.step is not None:
        first += [("   step ", "dim"), (f"{steps.step}/{steps.total}" if steps.total else str(steps.step), "")]
    if job and row.active and job.estimated_finish and (left := job.estimated_finish - facts.now) > 0:
        first += [("   left ", "dim"), (duration(left), "")]
    if cost := row.cost(steps):
        first += [("   cost ", "dim"), (money(cost.amount, cost.currency), ""), (f" {cost.tokens:,} tokens", "dim")]
    yield first
    if row.why:
        yield [(f"{'note':<{_LABEL}}", "dim"), (clean(row.why), "warn" if row.rank <= 1 else "")]
    if job is None:
        return
    for label, value in (
        ("job", job.id),
        ("model", job.model),
        ("result", job.fine_tuned_model or ""),
        ("revision", revision(job.revision, job.attempt)),
        ("created", timestamp(job.created_at)),
        ("finished", timestamp(job.finished_at) if job.finished_at else ""),
        ("method", str(job.method.get("type", ""))),
        ("error", "" if (job.error_message or "") in row.why else job.error_message or ""),
    ):
        if value:
            yield [(f"{label:<{_LABEL}}", "dim"), (clean(value), "alarm" if label == "error" else "")]
