"""What the hub's client raises, as errors of this program. The token is in none of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from reconciler.errors import (
    ApiError,
    Conflict,
    InvalidRequest,
    NoAnswer,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    RateLimited,
    ReconcilerError,
    ServerFault,
)

_WORDS = 300


@contextmanager
def translated(repository: str, *, writing: bool = False, made: bool = False) -> Iterator[None]:
    """Raise what the hub's client raises as an error that says what to do, and what is there now.

    ``writing`` is what may have had its effect though no answer came, ``made`` a repository made just now.
    """
    from huggingface_hub import constants, errors  # noqa: PLC0415 - of the extra

    try:
        yield
    except ReconcilerError:
        raise
    except (errors.HTTPError, errors.OIDCError, errors.DeviceCodeError, OSError, RuntimeError, ValueError) as error:
        fault = _fault(error, repository, constants.ENDPOINT)
        if writing and isinstance(fault, NoAnswer | ServerFault):
            left = f"Whether {repository} has it is not known: export again, and it has it once."
        else:
            left = f"{repository} was made, and is empty." if made else "Nothing was changed there."
        fault.hint = f"{fault.hint} {left}".strip()
        raise fault from error


def _fault(error: BaseException, repository: str, endpoint: str) -> ApiError:
    from huggingface_hub import errors  # noqa: PLC0415

    chain = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    answered = next((each for each in chain if isinstance(each, errors.HfHubHTTPError)), None)
    if answered is not None:
        status = answered.response.status_code
        kind, message, hint = _meaning(status, repository, _cut(answered.server_message or ""))
        return kind(message, hint=hint, status=status, request_id=answered.request_id)
    if isinstance(error, errors.OIDCError | errors.DeviceCodeError):
        return NotAuthenticated(f"There is no token to be had: {_cut(str(error))}", hint="Set HF_TOKEN.")
    if any(isinstance(each, errors.HTTPError) for each in chain):
        return NoAnswer(f"The hub at {endpoint} does not answer.", hint="Try again later.")
    return InvalidRequest(f"The hub does not take this: {_cut(str(error))}")


def _meaning(status: int, repository: str, said: str) -> tuple[type[ApiError], str, str]:
    known: dict[int, tuple[type[ApiError], str, str]] = {
        401: (NotAuthenticated, "The hub does not know this token.", "Set HF_TOKEN anew, or: hf auth login."),
        403: (NotPermitted, f"The token may not write to {repository}.", "Give it write access, or take another."),
        404: (NotFound, f"The hub has no {repository} that this token may see.", "Look at its name and the token."),
        409: (Conflict, f"{repository} has changed in between.", "Export again."),
        412: (Conflict, f"{repository} has changed in between.", "Export again."),
        429: (RateLimited, "The hub takes no more requests for now.", "Try again later."),
    }
    if status in known:
        return known[status]
    if status >= 500:
        return ServerFault, f"The hub failed. {said}".strip(), "Try again later."
    return InvalidRequest, f"The hub does not take this: {said or status}", ""


def _cut(text: str) -> str:
    return " ".join(text.split())[:_WORDS]
