"""How commands find a server that runs on a directory: ``server.json`` beside its database.

The file may be stale: its process killed, the process id or the port given to another program. So it is believed only
after the address has answered with the same ``instance``, which every start of a server draws anew.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

FILE = "server.json"


@dataclass(frozen=True, slots=True)
class Presence:
    """A server: the base URL of its API, its process, its instance, and the key it asks for."""

    url: str
    pid: int
    instance: str
    api_key: str | None = field(default=None, repr=False)

    @property
    def health_url(self) -> str:
        """Where it says which instance it is."""
        return self.url.removesuffix("/v1") + "/healthz"

    def write(self, directory: Path) -> None:
        """Announce the server, to this user only: the file holds the key, so git must not take it either."""
        ignore = directory / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
        path = directory / f"{FILE}.{self.instance}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file)
        path.replace(directory / FILE)

    def remove(self, directory: Path) -> bool:
        """Take the announcement back, unless it is already another server's; return whether nobody's is left."""
        if self.read(directory) == self:
            with contextlib.suppress(FileNotFoundError):
                (directory / FILE).unlink()
        return not (directory / FILE).exists()

    @classmethod
    def read(cls, directory: Path) -> Self | None:
        """Read an announcement; None where there is none, or it makes no sense."""
        try:
            found = json.loads((directory / FILE).read_text(encoding="utf-8"))
            presence = cls(**found)
        except (OSError, ValueError, TypeError):
            return None
        texts = (presence.url, presence.instance, presence.api_key or "")
        return presence if all(isinstance(text, str) for text in texts) else None
