"""``reconciler cancel NAME...``: set specs' state to cancelled, in place."""

from __future__ import annotations

from reconciler.cli.edit import edit_command

command = edit_command("cancelled", "Write into specs that their jobs are to be cancelled at the next apply, for good.")
