"""``reconciler pause NAME...``: set specs' state to paused, in place."""

from __future__ import annotations

from reconciler.cli.edit import edit_command

command = edit_command("paused", "Write into specs that their jobs are to pause at the next apply.")
