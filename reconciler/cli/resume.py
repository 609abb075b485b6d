"""``reconciler resume NAME...``: set specs' state to running, in place."""

from __future__ import annotations

from reconciler.cli.edit import edit_command

command = edit_command("running", "Write into specs that their jobs are to run, and to go on where they were paused.")
