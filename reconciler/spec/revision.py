"""The revision: a digest of all that training depends on, and of nothing else. Pure.

The format is a promise. A revision is written into the metadata of jobs that cost money, and a spec whose revision
is not found there is bought again; so whoever changes what is hashed, or how, makes every user pay for every model
once more. Version 1 is the first 16 hexadecimal digits of SHA-256 over UTF-8 JSON with sorted keys, no spaces and
non-ASCII escaped::

    {"v": 1, "model": MODEL, "training_file": FILE, "method": METHOD,
     "validation_file": FILE, "suffix": TEXT, "seed": NUMBER, "rerun": TEXT}      absent where not set

MODEL is a name, or ``{"revision": OF_THE_UPSTREAM, "checkpoint": "best" | "last" | STEP}``. FILE is ``sha256:HEX`` of
the content, or ``id:FILE_ID``. METHOD is the API's method object without what is left to the server. A float that is
a whole number counts as that number, so 1 and 1.0 are the same setting.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from reconciler.spec.desired import DataFile

VERSION = 1


def revision(
    model: str | Mapping[str, Any],
    training_file: DataFile | str,
    method: Mapping[str, Any],
    *,
    validation_file: DataFile | str | None = None,
    suffix: str | None = None,
    seed: int | None = None,
    rerun: str | None = None,
) -> str:
    """Return 16 hexadecimal digits; ``model`` and ``method`` are as the module says."""
    parts = {
        "v": VERSION,
        "model": model,
        "training_file": _file(training_file),
        "validation_file": _file(validation_file),
        "method": _settled(method),
        "suffix": suffix,
        "seed": seed,
        "rerun": rerun,
    }
    given = {key: value for key, value in parts.items() if value is not None}
    text = json.dumps(given, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def chained(upstream_revision: str, checkpoint: str | int) -> dict[str, Any]:
    """Return the model of a job that starts from what another one produces."""
    return {"revision": upstream_revision, "checkpoint": checkpoint}


def _file(file: DataFile | str | None) -> str | None:
    if isinstance(file, DataFile):
        return f"sha256:{file.digest}"
    return None if file is None else f"id:{file}"


def _settled(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _settled(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_settled(inner) for inner in value]
    return value
