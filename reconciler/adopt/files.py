"""What an import leaves on disk: data by its content, specs in files of their own. Nothing is overwritten."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from reconciler.api.files import remote_name
from reconciler.api.secret import Watch
from reconciler.errors import DataError, PermanentError, TransientError, UsageError

if TYPE_CHECKING:
    from reconciler.api.client import Client

DATA = "data"
"""Below a spec's directory; the loader looks for no specs there."""
_CONTENT_NAME = re.compile(r"\.[0-9a-f]{16}\.jsonl$")


async def download(client: Client, ids: Iterable[str], directory: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Save files of the server below a directory of specs, named after their content.

    Returns:
        By id, the path relative to the directory; and by id, why a file could not be had.

    Raises:
        ApiError: the server failed, again and again.
        UsageError: nothing can be written there.
    """
    saved: dict[str, str] = {}
    missing: dict[str, str] = {}
    for file_id in ids:
        try:
            saved[file_id] = await _save(client, file_id, directory / DATA)
        except (PermanentError, DataError) as error:
            missing[file_id] = error.message
        except OSError as error:
            raise UsageError(f"Cannot write below {directory / DATA}: {error.strerror}.") from error
    return saved, missing


async def _save(client: Client, file_id: str, directory: Path) -> str:
    about = await client.file(file_id)
    with _temporary(directory) as (path, file):
        digest = await _receive(client, file_id, file)
        size = file.tell()
        if not size or about.bytes not in (None, size):
            raise DataError(f"its content has {size} bytes, not {about.bytes or 'any'}")
        name = remote_name(_CONTENT_NAME.sub(".jsonl", about.filename), digest)
        _keep(path, directory / name, digest)
    return f"{DATA}/{name}"


@contextlib.contextmanager
def _temporary(directory: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Open a file for as long as the block lasts; unless it is renamed, it goes."""
    directory.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=directory, prefix=".download.")
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield Path(name), file
    finally:
        Path(name).unlink(missing_ok=True)


async def _receive(client: Client, file_id: str, file: BinaryIO) -> str:
    """Download into an open file, from its start, until it is whole; return the SHA-256 in hex."""
    patience = client.retrier.patience()
    while True:
        sha, watch = hashlib.sha256(), Watch(client.server.key)
        file.seek(0)
        file.truncate()

        def sink(piece: bytes, sha: hashlib._Hash = sha, watch: Watch = watch) -> None:
            sha.update(piece)
            watch.feed(piece)
            file.write(piece)

        try:
            await client.download(file_id, sink)
        except TransientError as error:
            await patience.after(error)
        else:
            if watch.found:
                raise DataError("its content holds the key of this server, which belongs in no file")
            file.flush()
            return sha.hexdigest()


def _keep(source: Path, target: Path, digest: str) -> None:
    """Give a finished download its name; one that has it already must be the same."""
    if target.exists():
        with target.open("rb") as there:
            if hashlib.file_digest(there, "sha256").hexdigest() != digest:
                raise DataError(f"{target} exists, and its content is not what its name says")
    else:
        source.chmod(0o644)
        source.replace(target)


def write_specs(out: Path, texts: Iterable[tuple[str, str]]) -> list[Path]:
    """Write specs, given by name, each to a file of its own in a directory; all to one file where ``out`` is YAML.

    Returns:
        The file of each spec.

    Raises:
        UsageError: the one file exists, or nothing can be written there.
    """
    try:
        if not is_file(out):
            out.mkdir(parents=True, exist_ok=True)
            return [_write_beside(out, name, text) for name, text in texts]
        out.parent.mkdir(parents=True, exist_ok=True)
        documents = [text for _, text in texts]
        with out.open("x", encoding="utf-8", newline="\n") as file:
            file.write("---\n".join(documents))
        return [out] * len(documents)
    except FileExistsError as error:
        raise UsageError(f"{out} exists, and is not overwritten.", hint="Give --out another name.") from error
    except OSError as error:
        raise UsageError(f"Cannot write {out}: {error.strerror}.") from error


def is_file(out: Path) -> bool:
    """Whether a path names one file of specs rather than a directory."""
    return out.suffix in {".yaml", ".yml"} and not out.is_dir()


def _write_beside(directory: Path, name: str, text: str) -> Path:
    """Write to ``NAME.yaml``, or the first ``NAME-2.yaml``, ... that is free."""
    number = 1
    while True:
        path = directory / (f"{name}.yaml" if number == 1 else f"{name}-{number}.yaml")
        try:
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
        except FileExistsError:
            number += 1
        else:
            return path
