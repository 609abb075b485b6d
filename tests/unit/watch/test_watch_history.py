from __future__ import annotations

from reconciler.watch.history import History


def test_lines_are_kept_newest_first_with_what_they_are_about() -> None:
    history = History(now=lambda: 5.0)
    history.hear("created a", "info", {"event": "create", "spec": "a", "job": "ftjob-1", "outcome": "done"})
    history.hear("ended", "warning", {})
    newest, first = history.lines
    assert (newest.number, newest.level, newest.message, newest.spec) == (2, "warning", "ended", None)
    assert (first.at, first.event, first.spec, first.job) == (5.0, "create", "a", "ftjob-1")


def test_it_forgets_the_oldest_and_still_counts() -> None:
    history = History()
    for number in range(2000):
        history.hear(str(number), "info", {})
    assert history.count == 2000
    assert len(history.lines) == 500
    assert history.lines[-1].message == "1500"


def test_what_nobody_may_read_is_not_kept() -> None:
    history = History(lambda text: text.replace("sk-secret", "[redacted]"))
    history.hear("refused: sk-secret", "error", {})
    assert history.lines[0].message == "refused: [redacted]"
