"""The dashboard: a table of every spec, a log of what was done and why, and keys."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.widgets import Input, RichLog, Static

from reconciler.api.client import Client
from reconciler.errors import ReconcilerError
from reconciler.observe.state import ObservedJob
from reconciler.plan.model import Action, Change, Plan
from reconciler.report.escape import clean
from reconciler.report.fault import messages
from reconciler.report.figures import duration
from reconciler.report.layout import cells
from reconciler.report.plan_text import render_plan
from reconciler.report.style import Span
from reconciler.report.words import costs
from reconciler.spec.desired import State
from reconciler.tui.columns import Facts, Told, clock, fit, status_span
from reconciler.tui.reader import Reader, Story
from reconciler.tui.rows import SORTS, Row, chosen, make_rows
from reconciler.tui.screens import Agree, Help, JobPage, ansi, edit_page, painted
from reconciler.tui.table import STYLES, Table
from reconciler.watch.asking import Asking
from reconciler.watch.engine import Pulse, Seen
from reconciler.watch.history import History, Line
from reconciler.watch.restraint import bought

_BEAT = 0.25
"""Seconds between two looks at what the watch has seen."""
_LEVELS = {"info": "", "warning": "warn", "error": "alarm"}
_MOST_PLAN_LINES = 400
_KEYS = (
    ("/", "find"), ("⏎", "open"), ("p", "pause"), ("r", "resume"), ("c", "cancel"), ("a", "approve"),
    ("o", "sort"), ("?", "help"), ("q", "quit"),
)  # fmt: skip


@dataclass(frozen=True)
class Desk:
    """What the dashboard works with beside the watch.

    ``rewrite`` sets the state of a spec where it is written, if told to, and returns the diff; ``fixed`` says why specs
    cannot be edited here, empty where they can. ``end`` ends the watch as Ctrl-C does. ``beat`` is how often events of
    what is on the screen may be read, in seconds.
    """

    owner: str
    server: str
    client: Client
    rewrite: Callable[[str, State, bool], str]
    end: Callable[[], None]
    fixed: str = ""
    beat: float = 5.0


class Pace(Protocol):
    """What of a watch the dashboard needs."""

    pulse: Pulse
    seen: Seen | None
    resting: bool

    def soon(self) -> None:
        """Look soon."""


class Dashboard(App[None]):
    """Shows a watch, and takes keys. It never touches the watch but through what a person asks for."""

    TITLE = "reconciler watch"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { background: ansi_default; color: ansi_default; }
    #title, #foot, #keys { height: 1; padding: 0 1; }
    #banner { height: 1; padding: 0 1; display: none; }
    Table { height: 1fr; padding: 0 1; }
    #rule { height: 1; padding: 0 1; }
    #log { height: 25%; min-height: 3; max-height: 12; padding: 0 1; scrollbar-size-vertical: 1; }
    RichLog { background: ansi_default; }
    * { scrollbar-color: ansi_bright_black; scrollbar-color-hover: ansi_white; scrollbar-color-active: ansi_white;
        scrollbar-background: ansi_default; scrollbar-background-hover: ansi_default;
        scrollbar-background-active: ansi_default; }
    #log.large { height: 60%; max-height: 100%; }
    #filter { height: 1; border: none; padding: 0 1; display: none; background: ansi_default; }
    Toast { background: ansi_default; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c,ctrl+q", "end", show=False, priority=True),
        Binding("q", "end", show=False),
        Binding("slash", "filter", show=False),
        Binding("escape", "unfilter", show=False),
        Binding("p", "set_state('paused')", show=False),
        Binding("r", "set_state('running')", show=False),
        Binding("c", "set_state('cancelled')", show=False),
        Binding("a", "approve", show=False),
        Binding("o", "sort", show=False),
        Binding("l", "log", show=False),
        Binding("question_mark", "help", show=False),
    ]

    def __init__(self, watch: Pace, asking: Asking, history: History, desk: Desk) -> None:
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self._watch, self._asking, self._history, self._desk = watch, asking, history, desk
        self._reader = Reader(desk.client, desk.beat)
        self._rows: list[Row] = []
        self._sort, self._filter = "state", ""
        self._seen: Seen | None = None
        self._told: dict[str, Told] = {}
        self._heard = self._errors = self._second = 0
        self._drawn: dict[str, list[Span]] = {}
        self._ending = self._reading = False
        self._table = Table()
        self._log_pane = RichLog(id="log", wrap=True, markup=False, highlight=False, min_width=20, max_lines=2_000)
        self._log_pane.can_focus = False
        self._entry = Input(
            id="filter", placeholder="words in name, state, reason, job or model", select_on_focus=False
        )
        self._lines = {name: Static(id=name, markup=False) for name in ("title", "banner", "rule", "foot", "keys")}

    def compose(self) -> ComposeResult:
        """Lay out the screen."""
        yield self._lines["title"]
        yield self._table
        yield self._lines["banner"]
        yield self._lines["rule"]
        yield self._log_pane
        yield self._entry
        yield self._lines["foot"]
        yield self._lines["keys"]

    def on_mount(self) -> None:
        """Begin."""
        self._table.focus()
        self.set_interval(_BEAT, self._beat)
        self._beat()

    # What is shown

    def _beat(self) -> None:
        """Show what is new; the ages of things change by themselves."""
        second, self._second = self._second, int(time.monotonic())
        heard, seen = self._hear(), self._watch.seen
        looked = seen is not None and seen is not self._seen
        visible = [row.job for row in self._table.in_view if row.job]
        if looked and seen is not None:
            self._seen, self._rows = seen, _rows(seen)
            self._list()
        elif second != self._second and any(job.active for job in visible):
            self._table.update(self._facts())
        if looked or heard or second != self._second:
            self._frame()
        if not self._reading and self._reader.due(visible):
            self._reading = True
            self.run_worker(self._read(visible), group="reading")

    def _hear(self) -> bool:
        """Take what was said since, and return whether anything was."""
        fresh = self._history.lines[: self._history.count - self._heard]
        self._heard = self._history.count
        for line in reversed(fresh):
            self._errors += line.level == "error"
            if line.spec:
                self._told[line.spec] = Told(line.at, line.message.removeprefix(line.spec).removeprefix(": ").strip())
            self._log_pane.write(_logged(line), expand=True)
        return bool(fresh)

    async def _read(self, jobs: Sequence[ObservedJob]) -> None:
        try:
            await self._reader.round(jobs)
            self._list()
        finally:
            self._reading = False

    def _facts(self) -> Facts:
        return Facts(self._reader.steps, self._told, time.time())

    def _list(self) -> None:
        table = self._table
        table.empty = "Nothing matches; Esc shows all." if self._rows else "No specs and no jobs yet."
        table.show(chosen(self._rows, self._filter, self._sort), self._facts())
        if isinstance(page := self.screen, JobPage):
            page.show(next((row for row in self._rows if row.key == page.row.key), page.row))

    def on_resize(self, _: Resize) -> None:
        """Fold the log anew."""
        self._log_pane.clear()
        for line in reversed(self._history.lines):
            self._log_pane.write(_logged(line), expand=True)
        self.call_after_refresh(self._frame)

    def _frame(self) -> None:
        width = self.size.width - 2
        for name, spans in (
            ("title", self._title(width)),
            ("rule", [("─ log " + "─" * max(width - 6, 0), "dim")]),
            ("banner", self._banner()),
            ("foot", self._foot(width)),
            ("keys", [span for key, word in _KEYS for span in ((key, "calm"), (f" {word}  ", "dim"))]),
        ):
            if self._drawn.get(name) != spans:
                self._drawn[name] = spans
                self._lines[name].update(painted([spans]))
        self._lines["banner"].display = bool(self._pending())

    def _title(self, width: int) -> list[Span]:
        counts = Counter(row.status for row in self._rows)
        shown = len(self._table.rows)
        left = f"{len(self._rows)} {'spec' if len(self._rows) == 1 else 'specs'}"
        left = left if shown == len(self._rows) else f"{shown} of {left}"
        left += f" by {self._sort}" + (f", filter: {clean(self._filter, 40)}" if self._filter else "")
        room = width - cells(left)
        said: list[Span] = []
        for status, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            word, style = status_span(status)
            text = f"   {count} {word}"
            if cells(text) > room:
                break
            said.append((text, style))
            room -= cells(text)
        return [(left, "title"), (" " * max(room, 0), ""), *said]

    def _pending(self) -> tuple[Change, ...]:
        """Return the new runs that wait for leave, declined or not."""
        return tuple(self._asking.waiting(self._seen.plan.changes)) if self._seen else ()

    def _banner(self) -> list[Span]:
        pending = self._pending()
        plan = Plan("", "", pending)
        price = f", about {costs(plan)}" if plan.costs else ""
        count = sum(change.action is Action.CREATE for change in pending)
        runs = "1 new run waits" if count == 1 else f"{count} new runs wait"
        return [(f"? {runs} for approval{price}: press a to see and approve", "warn")]

    def _foot(self, width: int) -> list[Span]:
        pulse, now = self._watch.pulse, time.monotonic()
        looked = "not yet" if pulse.looked_at is None else f"{duration(now - pulse.looked_at)} ago"
        waits = pulse.next_at is not None and self._watch.resting
        coming = f"in {duration((pulse.next_at or now) - now)}" if waits else "now"
        if self._ending:
            coming = "ending"
        errors = self._errors
        spans: list[Span] = [("last look ", "dim"), (looked, "bad" if pulse.failed else ""), ("  next ", "dim")]
        spans += [(coming, ""), ("  requests ", "dim"), (f"{self._desk.client.requests:,}", "")]
        spans += [("  errors ", "dim"), (str(errors), "alarm" if errors else "")]
        used = sum(len(text) for text, _ in spans)
        where = f"{clean(self._desk.owner)} on {clean(self._desk.server)}"
        return [*spans, ("  " + fit(where, max(width - used - 2, 0), right=True), "dim")]

    # Keys

    def action_end(self) -> None:
        """End the watch, and with it the dashboard; a second time at once."""
        self._ending = True
        self._desk.end()
        self._frame()

    def action_help(self) -> None:
        """Show the keys."""
        if len(self.screen_stack) == 1:
            self.push_screen(Help())

    def action_log(self) -> None:
        """Make the log larger or smaller."""
        self._log_pane.toggle_class("large")

    def action_sort(self) -> None:
        """Sort by the next of the orders."""
        orders = list(SORTS)
        self._sort = orders[(orders.index(self._sort) + 1) % len(orders)]
        self._list()
        self._frame()

    def action_filter(self) -> None:
        """Ask for words."""
        self._entry.display = True
        self._entry.focus()

    def action_unfilter(self) -> None:
        """Show all rows."""
        self._entry.value = ""
        self._close_filter()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while words are typed."""
        self._filter = event.value
        self._list()
        self._frame()

    def on_input_submitted(self, _: Input.Submitted) -> None:
        """Go back to the table, with the filter."""
        self._close_filter()

    def _close_filter(self) -> None:
        self._entry.display = False
        self._table.focus()

    def on_table_opened(self, _: Table.Opened) -> None:
        """Open the chosen row."""
        row = self._table.chosen
        if row is None:
            return
        if row.job is None:
            self._tell(f"{row.name} has no job yet{f': {row.why}' if row.why else '.'}")
            return
        page = JobPage(row, Story(self._desk.client, row.job.id), self._facts, min(self._desk.beat, 2.0))
        self.push_screen(page)

    def action_approve(self) -> None:
        """Show what waits for approval, and approve just what was shown."""
        if len(self.screen_stack) > 1:
            return
        pending = self._pending()
        if not pending:
            self._tell("No new run waits for approval.")
            return
        shown = Plan.of(self._desk.owner, self._desk.server, pending)

        def render(width: int) -> Text:
            lines = render_plan(shown, color=True, width=width).splitlines()
            if len(lines) > _MOST_PLAN_LINES:
                cut = len(lines) - _MOST_PLAN_LINES
                lines = [*lines[:_MOST_PLAN_LINES], f"... and {cut} more lines", "", lines[-1]]
            return ansi("\n".join(lines))

        def answer(agreed: bool | None) -> None:
            if agreed:
                self._approve(pending)

        count = sum(change.action is Action.CREATE for change in pending)
        self.push_screen(
            Agree(f"Start {count} new {'run' if count == 1 else 'runs'}?", "y start   Esc not now", render), answer
        )

    def _approve(self, changes: tuple[Change, ...]) -> None:
        if self._asking.approve([bought(change) for change in changes]):
            self._watch.soon()

    def action_set_state(self, state: State) -> None:
        """Edit the spec of the chosen row, once a person has seen the change."""
        row = self._table.chosen
        if len(self.screen_stack) > 1 or row is None:
            return
        if self._desk.fixed:
            self._tell(self._desk.fixed)
        elif row.spec is None:
            self._tell(f"{row.name} has no spec any more: there is nothing to edit.")
        else:
            self.run_worker(self._edit(row.spec.name, state), exclusive=True, group="edit")

    async def _edit(self, name: str, state: State) -> None:
        """Show an edit, and make just that one."""
        diff = await self._rewritten(name, state, write=False)
        if not diff:
            if diff is not None:
                self._tell(f"{name} is {state} already.")
            return
        if not await self.push_screen_wait(edit_page(f"Set {name} to {state}?", diff)):
            return
        if await self._rewritten(name, state, write=False) != diff:
            self._tell(f"The file of {name} was changed meanwhile. Nothing was written: try again.", "error")
        elif await self._rewritten(name, state, write=True):
            self._watch.soon()

    async def _rewritten(self, name: str, state: State, *, write: bool) -> str | None:
        """Return what an edit changes; None where it cannot be made, which is said."""
        try:
            return await asyncio.to_thread(self._desk.rewrite, name, state, write)
        except ReconcilerError as error:
            self._tell("\n".join(messages(error)), "error")
            return None

    def _tell(self, words: str, severity: Literal["information", "error"] = "information") -> None:
        self.notify("\n".join(clean(line) for line in words.split("\n")), severity=severity, markup=False, timeout=8)


def _rows(seen: Seen) -> list[Row]:
    repository = seen.snapshot.repository
    held = {held.change.name: held for held in seen.held}
    return make_rows(repository.desired, seen.observed, seen.plan, held, repository.config.policy.prices)


def _logged(line: Line) -> Text:
    text = Text()
    text.append(f"{clock(line.at)} ", STYLES["dim"])
    text.append(clean(line.message), STYLES[_LEVELS.get(line.level, "")])
    return text
