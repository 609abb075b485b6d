"""How the program's log looks, and what never gets into it. Loaded only where the log is asked for."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from reconciler.cli.say import say
from reconciler.cli.secrets import SECRETS
from reconciler.report.document import to_text
from reconciler.report.escape import clean
from reconciler.report.progress import Lines

FIELDS = (
    "method", "path", "status", "duration_ms", "request_id", "pages", "jobs", "actions", "hint",
    "event", "spec", "job", "outcome", "reason",
)  # fmt: skip
"""What a record may carry beside its message: each becomes a member of a JSON line."""

_PROGRAM = "reconciler"


class TextLines(logging.Formatter):
    """A line for a person: level and message, without secrets and harmless to a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; the trace of a fault follows it, line by line."""
        lines = [f"{record.levelname.lower()}: {record.getMessage()}", *_trace(self, record).splitlines()]
        return "\n".join(clean(SECRETS.redact(line)) for line in lines)


class JsonLines(logging.Formatter):
    """A JSON object on one line: time (RFC 3339, UTC), level, logger, message, and the fields at hand."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": SECRETS.redact(record.getMessage()),
        }
        fields = {name: getattr(record, name, None) for name in FIELDS}
        fields["trace"] = _trace(self, record) or None
        for name, value in fields.items():
            if value is not None:
                line[name] = SECRETS.redact(value) if isinstance(value, str) else value
        return to_text(line, indent=None).rstrip()


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return formatter.formatException(record.exc_info) if record.exc_info else ""


class Stderr(logging.Handler):
    """Writes lines to stderr, or where ``elsewhere`` takes them: above a live board."""

    elsewhere: Callable[[str], object] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; a log that cannot be written stops nothing."""
        try:
            line = self.format(record)
            if self.elsewhere is not None:
                self.elsewhere(line)
            else:
                sys.stderr.write(line + "\n")
                sys.stderr.flush()
        except (OSError, ValueError):
            pass


class JsonProgress(Lines):
    """Progress as JSON lines."""

    def __init__(self) -> None:
        super().__init__(sys.stderr, color=False)

    def _write(self, *line: tuple[str, str]) -> None:
        say("".join(text for text, _ in line))


def configure(form: str, level: int) -> None:
    """Show our records of at least ``level``, and others' warnings. May be called again; the last call counts."""
    reset()
    handler = Stderr()
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.getLogger().addHandler(handler)
    logging.getLogger(_PROGRAM).setLevel(level)
    logging.captureWarnings(form == "json")


def reset() -> None:
    """Take it back."""
    for handler in _handlers():
        logging.getLogger().removeHandler(handler)
    logging.getLogger(_PROGRAM).setLevel(logging.NOTSET)
    logging.captureWarnings(capture=False)


def _handlers() -> list[Stderr]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, Stderr)]


def say_json(message: str, level: str, fields: Mapping[str, object]) -> None:
    """Write one JSON line, whatever is left out of the log."""
    logger = logging.getLogger(f"{_PROGRAM}.cli")
    number = logging.getLevelNamesMapping()[level.upper()]
    logger.handle(logger.makeRecord(logger.name, number, "", 0, message, (), None, extra=fields))


@contextmanager
def above(note: Callable[[str], object]) -> Iterator[None]:
    """Let lines go where ``note`` takes them, as long as the block lasts."""
    handlers = _handlers()
    for handler in handlers:
        handler.elsewhere = note
    try:
        yield
    finally:
        for handler in handlers:
            handler.elsewhere = None
