"""A spec as the text of a YAML document, for people to read and go on with. Pure.

What is written is read again by the loader's own parser: text that would come back as anything else is refused.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

from reconciler.adopt.shape import Inexpressible, Shape
from reconciler.api.answers import clean
from reconciler.api.types import Job
from reconciler.errors import SpecError
from reconciler.spec import documents
from reconciler.spec.desired import Adopt

_WIDE = 1 << 20
_IN_BRACES = ("model", "hyperparameters", "adopt")


def document(job: Job, shape: Shape, adopt: Adopt | None = None) -> str:
    """Write a spec, with where it came from as comments. ``adopt`` is added once the revision is known.

    Raises:
        Inexpressible: it holds text that no YAML file can.
    """
    body: dict[str, Any] = dict(shape.body)
    if adopt:
        body["adopt"] = {"job": adopt.job, "revision": adopt.revision}
    return "".join(f"# {line}\n" for line in _comments(job, shape)) + _yaml(body)


def _comments(job: Job, shape: Shape) -> list[str]:
    lines = [f"Imported from {job.id}: {job.status}, created {_time(job.created_at)}."]
    if job.fine_tuned_model:
        lines.append(f"Its model: {job.fine_tuned_model}")
    if job.status == "failed":
        why = ": ".join(filter(None, (job.error.code, job.error.message))) if job.error else ""
        lines.append(f"It failed{f' ({why})' if why else ''}. To train it anew: state: running, and no adopt.")
    if shape.left_out:
        lines.append(f"Left out, since a spec cannot say it: {', '.join(shape.left_out)}")
    return ["".join(c if c.isprintable() else " " for c in clean(line, None)) for line in lines]


def _time(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"at {seconds}"


def _yaml(body: Mapping[str, Any]) -> str:
    for style in (_readable, DoubleQuotedScalarString):
        text = _dumped(body, style)
        if _reads_as(text, body):
            return text
    raise Inexpressible("it holds text that no YAML file can hold (control characters?)")


def _readable(text: str) -> object:
    return LiteralScalarString(text) if "\n" in text else text


def _dumped(body: Mapping[str, Any], style: Callable[[str], object]) -> str:
    yaml = YAML()
    yaml.width = _WIDE
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    root = _styled(body, style)
    for key in _IN_BRACES:
        if isinstance(root.get(key), CommentedMap):
            root[key].fa.set_flow_style()
    yaml.dump(root, out)
    return out.getvalue()


def _styled(value: Any, style: Callable[[str], object]) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, Mapping):
        return CommentedMap({key: _styled(inner, style) for key, inner in value.items()})
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_styled(inner, style) for inner in value]
    return style(value) if isinstance(value, str) else value


def _reads_as(text: str, body: Mapping[str, Any]) -> bool:
    try:
        found = documents.read("", text.encode())
        return len(found) == 1 and bool(found[0].value() == body)
    except (SpecError, UnicodeEncodeError):
        return False
