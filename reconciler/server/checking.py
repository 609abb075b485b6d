"""Reads a job's data before it trains: by method, row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from reconciler.api.types import MethodType
from reconciler.api.types.rows import RowError, RowSummary, check_rows
from reconciler.server import files
from reconciler.server.jobs import JobRow
from reconciler.server.store import Store

_LONGEST_ROW = 16 * 1024 * 1024


class DataRefused(Exception):
    """The data cannot be trained on; ``error`` is what the job shows: code, message, param."""

    def __init__(self, code: str, message: str, param: str) -> None:
        super().__init__(message)
        self.error: dict[str, Any] = {"code": code, "message": message, "param": param}


class Interrupted(Exception):
    """Checking was asked to stop."""


def check(store: Store, job: JobRow, stopping: Callable[[], bool]) -> RowSummary:
    """Check both files of a job; return what the training file holds.

    Raises:
        DataRefused: a file is gone or a row is bad; names the line.
        Interrupted: ``stopping`` became true.
        OSError: the disk does not give a file; that says nothing about the data.
    """
    method: MethodType = job.document["method"]["type"]
    summary = _check_file(store, job, "training_file", method, stopping, minimum=10)
    if job.document["validation_file"] is not None:
        _check_file(store, job, "validation_file", method, stopping, minimum=1)
    return summary


def _check_file(
    store: Store, job: JobRow, param: str, method: MethodType, stopping: Callable[[], bool], *, minimum: int
) -> RowSummary:
    file_id = job.document[param]
    try:
        return check_rows(method, _lines(files.path(store, file_id), stopping), minimum=minimum)
    except RowError as error:
        raise DataRefused(error.code, f"{param} {file_id}, {error}", param) from error
    except FileNotFoundError as error:
        raise DataRefused("file_not_found", f"{param} {file_id} no longer exists.", param) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise DataRefused("invalid_file_format", f"{param} {file_id} cannot be read.", param) from error


def _lines(path: Path, stopping: Callable[[], bool]) -> Iterator[bytes]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_LONGEST_ROW + 1):
            number += 1
            if stopping():
                raise Interrupted
            if len(line) > _LONGEST_ROW:
                raise RowError("invalid_file_format", number, f"is longer than {_LONGEST_ROW >> 20} MB")
            yield line
