"""Where a running server is announced."""

from __future__ import annotations

import stat
from pathlib import Path

from reconciler.server.presence import FILE, Presence


def test_an_announcement_is_for_this_user_alone_and_never_for_git(tmp_path: Path) -> None:
    Presence("http://127.0.0.1:1/v1", 1, "instance", "key").write(tmp_path)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert (tmp_path / ".gitignore").read_text() == "*\n"
