"""Writing results to files."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from reconciler.errors import ReconcilerError


def write_atomic(path: Path, text: str) -> None:
    """Write a file whole or not at all; one that was there keeps its mode.

    Raises:
        ReconcilerError: it cannot be written; what was there before is untouched.
    """
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            Path(name).chmod(stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ReconcilerError(
            f"{path} cannot be written: {error.strerror}.", hint="What was there before is untouched."
        ) from error
