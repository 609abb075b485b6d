"""What a server's owner allows graders to do, and where model graders are asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast, get_args

from reconciler.errors import UsageError

PythonMode = Literal["off", "isolated", "limited"]
"""Whether python graders run: not at all, shut in, or with limits only (their files are the server's)."""

PYTHON_VARIABLE = "RECONCILER_PYTHON_GRADERS"
URL_VARIABLE = "RECONCILER_GRADER_URL"
KEY_VARIABLE = "RECONCILER_GRADER_KEY"


@dataclass(frozen=True, slots=True)
class GraderSettings:
    """How graders run. Times are in seconds, memory in bytes.

    ``model_url`` is the base URL of a chat completions server, None where model graders are not to run.
    """

    python: PythonMode = "off"
    python_seconds: float = 20.0
    python_memory: int = 1024 * 1024 * 1024
    model_url: str | None = None
    model_key: str | None = field(default=None, repr=False)
    model_seconds: float = 60.0


def from_environment(environment: Mapping[str, str]) -> GraderSettings:
    """Read the settings of graders. The API's clients cannot change them.

    Raises:
        UsageError: a variable has a value that it cannot have.
    """
    python = environment.get(PYTHON_VARIABLE) or "off"
    if python not in get_args(PythonMode):
        hint = f"Use one of {', '.join(get_args(PythonMode))}."
        raise UsageError(f"{PYTHON_VARIABLE} is {python[:50]!r}.", hint=hint)
    url = environment.get(URL_VARIABLE) or None
    if url is not None and not url.startswith(("http://", "https://")):
        raise UsageError(f"{URL_VARIABLE} is no http or https URL.", hint="Use one such as http://127.0.0.1:8000/v1.")
    return GraderSettings(
        python=cast("PythonMode", python),
        model_url=url,
        model_key=environment.get(KEY_VARIABLE) or None,
    )
