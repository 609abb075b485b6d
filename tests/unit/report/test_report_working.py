"""What a command is doing is shown at a terminal, and nowhere else."""

from __future__ import annotations

import io

from reconciler.report.working import working


def test_at_a_terminal_it_is_said_until_the_line_is_left_to_others() -> None:
    stream = io.StringIO()
    with working(stream, interactive=True, color=False) as doing:
        doing("Merging [the] weights")
        doing("")
        left = len(stream.getvalue())
        stream.write("12%")
        doing("Uploading")
    said = stream.getvalue()
    assert "Merging [the] weights ..." in said[:left]
    assert "Uploading ..." in said[left:]


def test_elsewhere_nothing_is_said() -> None:
    stream = io.StringIO()
    with working(stream, interactive=False, color=True) as doing:
        doing("Merging")
    assert not stream.getvalue()
