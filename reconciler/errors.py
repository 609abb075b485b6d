"""Every error this program raises on purpose.

::

    ReconcilerError                 what, and what to do next; exit code 1
    ├── UsageError                  the command line is wrong; exit code 64
    │   └── MissingKey              no server is chosen, or the variable of its key is not set
    ├── MissingExtra                an optional part is not installed; names the command that installs it
    ├── SpecError                   one or more Problems in specs or reconciler.yaml, each with its place
    ├── DataError                   a training file is missing, empty, changed while read, ...
    ├── PlanError                   a plan that must not be applied
    │   ├── UnsafePlan              more would be destroyed than policy allows; names the flag
    │   └── StalePlan               what a saved plan was made from has changed
    ├── UnreliableListing           a server's listing contradicts itself; nothing may be concluded from it
    ├── OwnershipLost               a created job came back without our metadata; nothing more is bought
    ├── StoreError                  the embedded server's database or disk
    ├── HostError                   GitHub's API refused or failed: a comment is lost, never a run
    └── ApiError                    a server's answer, or none: status, code, param, request id
        ├── TransientError          the same request may succeed later
        │   ├── NoAnswer            connection failed or timed out: the outcome is unknown
        │   ├── RateLimited         429; retry_after in seconds
        │   └── ServerFault         5xx, 408
        └── PermanentError          the same request fails again
            ├── InvalidRequest      400, 413, 422
            ├── NotAuthenticated    401
            ├── NotPermitted        403
            │   └── TrainingNotAvailable    403 training_not_available
            ├── NotFound            404
            ├── Conflict            409
            ├── DailyLimit          429 daily_rate_limit_exceeded
            ├── Unsupported         404, 405 or 501 on an operation a server may lack (pause, resume)
            └── NotThisApi          the base URL is not such a server
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class ReconcilerError(Exception):
    """The root: a message for a person, and a hint that says what to do next.

    ``hint`` may be empty. Neither may ever hold a secret.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(ReconcilerError):
    """The command line or its environment is wrong."""

    exit_code = 64


class MissingKey(UsageError):
    """No server is chosen, or the variable that holds its key is not set."""


class MissingExtra(ReconcilerError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} is not installed.", hint=f"Install it: pip install 'finetune-reconciler[{extra}]'")


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One fault in one place: ``file:line:column: message``. Lines and columns count from 1; 0 is unknown."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        """Render as compilers do, so that editors can jump to the place."""
        place = ":".join([self.file, *(str(n) for n in (self.line, self.column) if n)])
        return f"{place}: {self.message}"


class SpecError(ReconcilerError):
    """Every problem found over all files, in order of place."""

    def __init__(self, problems: list[Problem], *, hint: str = "") -> None:
        self.problems = sorted(set(problems))
        super().__init__("\n".join(map(str, self.problems)), hint=hint)


class DataError(ReconcilerError):
    """A training file cannot be used."""


class PlanError(ReconcilerError):
    """A plan that must not be applied."""


class UnsafePlan(PlanError):
    """More would be destroyed than policy allows."""


class StalePlan(PlanError):
    """What a saved plan was made from has changed since."""


class UnreliableListing(ReconcilerError):
    """A listing repeated ids, was out of order or contradicted itself, again after it was read anew."""


class OwnershipLost(ReconcilerError):
    """A server does not keep metadata, so no job on it can be owned."""


class StoreError(ReconcilerError):
    """The embedded server's database or disk refused a write, or belongs to a newer version."""


class HostError(ReconcilerError):
    """The API of the host of the repository (GitHub) refused, failed or did not answer.

    ``status`` is the HTTP status, 0 where there was no answer.
    """

    def __init__(self, message: str, *, hint: str = "", status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class ApiError(ReconcilerError):
    """What a server answered, translated once.

    ``status`` is the HTTP status (0 where there was no answer); ``code`` and ``param`` are the server's own
    words; ``request_id`` is its ``x-request-id``, which support people ask for.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        status: int = 0,
        code: str | None = None,
        param: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code
        self.param = param
        self.request_id = request_id

    def __str__(self) -> str:
        """Add what a person needs to find this answer again."""
        facts = [f"HTTP {self.status}"] if self.status else []
        facts += [f"code {self.code}"] if self.code else []
        facts += [f"param {self.param}"] if self.param else []
        facts += [f"request {self.request_id}"] if self.request_id else []
        return f"{self.message} ({', '.join(facts)})" if facts else self.message


class TransientError(ApiError):
    """The same request may succeed later."""


class NoAnswer(TransientError):
    """No answer came: whether the request had an effect is unknown, unless it certainly was not ``sent``."""

    sent: bool = True


class RateLimited(TransientError):
    """Too many requests. ``retry_after`` is in seconds, None where the server does not say."""

    retry_after: float | None = None


class ServerFault(TransientError):
    """The server failed. A write may have had its effect."""

    retry_after: float | None = None


class PermanentError(ApiError):
    """The same request fails again."""


class InvalidRequest(PermanentError):
    """The server refuses this body or parameter."""


class NotAuthenticated(PermanentError):
    """The key is missing or wrong."""


class NotPermitted(PermanentError):
    """The key may not do this."""


class TrainingNotAvailable(NotPermitted):
    """This account may not start fine-tuning jobs here."""


class NotFound(PermanentError):
    """No such object."""


class Conflict(PermanentError):
    """The object is in a state that does not allow this."""


class DailyLimit(PermanentError):
    """The day's quota is used up: soon is too early."""


class Unsupported(PermanentError):
    """This server does not offer the operation."""


class NotThisApi(PermanentError):
    """The base URL answers, but not as a fine-tuning server does."""
