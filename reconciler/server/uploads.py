"""Receives a file: a multipart body is parsed as it comes and goes to disk in pieces, never whole into memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from reconciler.server.files import PURPOSES, Incoming
from reconciler.server.problems import Problem, printable

_PIECE = 1 << 20
_LONGEST_FIELD = 4096
_LONGEST_NAME = 255
FIELDS = ("purpose", "expires_after[anchor]", "expires_after[seconds]")
"""What may stand beside the bytes of a file."""
EXPIRY_SECONDS = (3600, 2_592_000)
"""The shortest and the longest life that a file may be given."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What came beside the bytes. ``expires_after`` is in seconds."""

    filename: str
    purpose: str
    expires_after: int | None


class Form:
    """The parts of one form: the bytes of ``blob`` go to ``target``, the small ``fields`` are kept.

    Raises:
        Problem: from every method, where this is not such a form or the bytes are more than ``limit``.
    """

    def __init__(
        self, content_type: str, target: Incoming, limit: int, *, blob: str = "file", fields: Sequence[str] = FIELDS
    ) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise Problem(400, "Send a multipart/form-data body with a boundary.", code="invalid_content_type")
        self._target = target
        self._limit = limit
        self._blob = blob
        self._known = fields
        self._headers: dict[bytes, bytes] = {}
        self._header = [b"", b""]
        self._part: str | None = None
        self._fields: dict[str, bytes] = {}
        self._sent_name: str | None = None
        self._ended = False
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._begin,
                    "on_header_field": lambda data, start, end: self._add_header(0, data[start:end]),
                    "on_header_value": lambda data, start, end: self._add_header(1, data[start:end]),
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._name_part,
                    "on_part_data": lambda data, start, end: self._add(data[start:end]),
                    "on_end": self._end,
                },
            )
        except (ValueError, MultipartParseError) as error:
            raise _malformed(error) from error

    def feed(self, data: bytes) -> None:
        """Take a piece of the body."""
        try:
            self._parser.write(data)
        except MultipartParseError as error:
            raise _malformed(error) from error

    def finish(self) -> str:
        """Check, at the end of the body, that the bytes are there; return the name they were sent under."""
        if not self._ended:
            raise Problem(400, "The multipart body ends too early.", code="invalid_multipart")
        if self._sent_name is None:
            words = f"The form has no file in '{self._blob}'."
            raise Problem(400, words, code="missing_required_parameter", param=self._blob)
        if not self._target.size:
            raise Problem(400, "The file is empty.", code="empty_file", param=self._blob)
        return self._sent_name

    def finish_upload(self) -> Upload:
        """Check, at the end of the body, that all is there that makes a file."""
        filename = safe_name(self.finish())
        purpose = self._text("purpose")
        if purpose is None:
            raise Problem(400, "The form has no 'purpose'.", code="missing_required_parameter", param="purpose")
        if purpose not in PURPOSES:
            names = ", ".join(PURPOSES)
            raise Problem(
                400, f"'purpose' is {printable(purpose)}; use one of {names}.", code="invalid_value", param="purpose"
            )
        return Upload(filename, purpose, self._expiry())

    def _expiry(self) -> int | None:
        anchor, seconds = self._text("expires_after[anchor]"), self._text("expires_after[seconds]")
        if anchor is None and seconds is None:
            return None
        least, most = EXPIRY_SECONDS
        good = seconds is not None and seconds.isascii() and seconds.isdecimal() and len(seconds) < 10
        if anchor != "created_at" or not good or not least <= int(seconds or 0) <= most:
            raise Problem(
                400,
                f"'expires_after' needs anchor=created_at and seconds from {least} to {most}.",
                code="invalid_value",
                param="expires_after",
            )
        return int(seconds or 0)

    def _text(self, name: str) -> str | None:
        return self._fields[name].decode("utf-8", "replace") if name in self._fields else None

    def _begin(self) -> None:
        self._headers.clear()
        self._header = [b"", b""]

    def _add_header(self, side: int, data: bytes) -> None:
        self._header[side] += data

    def _end_header(self) -> None:
        self._headers[self._header[0].lower()] = self._header[1]
        self._header = [b"", b""]

    def _name_part(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._part = options.get(b"name", b"").decode("utf-8", "replace")
        if self._part == self._blob:
            if self._sent_name is not None:
                raise Problem(400, "Send one file at a time.", code="invalid_multipart", param=self._blob)
            self._sent_name = options.get(b"filename", b"").decode("utf-8", "replace")
        elif self._part not in self._known or self._part in self._fields:
            raise Problem(
                400,
                f"Unknown or repeated field {printable(self._part)!r}.",
                code="unknown_parameter",
                param=printable(self._part) or None,
            )
        else:
            self._fields[self._part] = b""

    def _add(self, data: bytes) -> None:
        if self._part == self._blob:
            if self._target.size + len(data) > self._limit:
                raise too_large(self._limit)
            self._target.write(data)
        elif self._part is not None:
            self._fields[self._part] += data
            if len(self._fields[self._part]) > _LONGEST_FIELD:
                raise Problem(400, f"Field {self._part!r} is too long.", code="invalid_value", param=self._part)

    def _end(self) -> None:
        self._ended = True


def too_large(limit: int) -> Problem:
    """The body or file is over a limit in bytes."""
    return Problem(413, f"That is larger than {limit} bytes, which is the most here.", code="request_too_large")


def safe_name(name: str) -> str:
    """Keep the last component of a file's name, without control characters. It is shown, and never used as a path.

    Raises:
        Problem: nothing is left of it.
    """
    # Browsers and HTTP clients write a quotation mark in a form's file name so.
    last = name.replace("\\", "/").rsplit("/", 1)[-1].replace("%22", '"')
    clean = "".join(c for c in last if c.isprintable()).strip()[:_LONGEST_NAME]
    if clean in {"", ".", ".."}:
        raise Problem(400, "The file needs a name.", code="invalid_value", param="file")
    return clean


def _malformed(error: Exception) -> Problem:
    return Problem(400, f"The multipart body is malformed: {printable(str(error))}", code="invalid_multipart")


async def pieces(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Join what comes from a connection into pieces of about a megabyte, worth a thread's while."""
    waiting: list[bytes] = []
    size = 0
    async for chunk in stream:
        waiting.append(chunk)
        size += len(chunk)
        if size >= _PIECE:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)
