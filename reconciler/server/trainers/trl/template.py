"""A base's chat template as far as it is known before the model is loaded, and whether it reads how hard to think."""

from __future__ import annotations

import json
from pathlib import Path

from reconciler.server.trainers.trl.catalogue import Entry

EFFORT = "reasoning_effort"


def known(entry: Entry) -> str | None:
    """Return the template, where the entry has one or its directory of safetensors does; None where nothing says."""
    if entry.chat_template or not entry.path:
        return entry.chat_template
    place = Path(entry.path)
    try:
        if (place / "chat_template.jinja").is_file():
            return (place / "chat_template.jinja").read_text(encoding="utf-8")
        template = json.loads((place / "tokenizer_config.json").read_text(encoding="utf-8")).get("chat_template")
    except (OSError, ValueError):
        return None
    return template if isinstance(template, str) else None


def effort_refused(effort: str | None, entry: Entry, template: str | None) -> str | None:
    """Say why a model cannot be asked to think so hard; None where it can, or where the template is not known yet."""
    if effort is None:
        return None
    if not entry.reasoning_effort:
        return f"This model knows no {EFFORT}, so it cannot be {effort}: leave it out."
    if template is not None and EFFORT not in template:
        return (
            f"The model's chat template never reads {EFFORT}, although its entry in the server's catalogue says so, so "
            f"it cannot be {effort}: leave it out."
        )
    return None
