"""``reconciler init``: a repository to start from."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

from reconciler.errors import UsageError
from reconciler.spec.remote import git_remote

_SPEC = "specs/first.yaml"
_DATA = "specs/data/first.jsonl"
_CONFIG = "reconciler.yaml"
_SCAFFOLD = {
    _SPEC: f"scaffold/{_SPEC}",
    _DATA: f"scaffold/{_DATA}",
    _CONFIG: f"scaffold/{_CONFIG}",
    ".reconcilerignore": "scaffold/reconcilerignore",
    ".gitignore": "scaffold/gitignore",
    ".schema/spec.schema.json": "spec.schema.json",
    ".schema/config.schema.json": "config.schema.json",
}

FILES = tuple(_SCAFFOLD)
"""What ``init`` makes, relative to its directory. Editors find the schemas beside the specs, with no network."""


def init(directory: Path) -> list[Path]:
    """Write a first spec with data, settings, ignore files and schemas.

    Nothing is overwritten: what exists is kept, and a ``specs`` directory that exists gets no first spec, so that
    nobody buys a tutorial's job.

    Returns:
        The files written, in the order of ``FILES``; the others of ``FILES`` were kept.

    Raises:
        UsageError: a file cannot be written.
    """
    left_out = {_SPEC, _DATA} if (directory / "specs").exists() else set()
    written = []
    for name, source in _SCAFFOLD.items():
        path = directory / name
        if name not in left_out and write_new(path, _text(source, directory)):
            written.append(path)
    return written


def _text(source: str, directory: Path) -> str:
    text = resources.files("reconciler.spec").joinpath(source).read_text(encoding="utf-8")
    if source.endswith(_CONFIG) and git_remote(directory) is None:
        owner = json.dumps(directory.absolute().name or "local")  # a JSON string is a YAML string
        text = text.replace("# owner: github.com/acme/models", f"owner: {owner}")
    return text


def write_new(path: Path, text: str) -> bool:
    """Write a file that is not there yet, and say whether it was.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        return False
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error.strerror}.") from error
    return True
