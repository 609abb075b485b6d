"""What went wrong with training or an answer, as the code that is shown. Errors go by name: nothing heavy is loaded."""

from __future__ import annotations

import errno
import os
import re
from typing import Literal

from reconciler.api.secret import redact, secrets_of

FULL = "insufficient_storage"
MEMORY = "out_of_memory"
DIVERGED = "training_diverged"
SERVER_ERROR = "server_error"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_WORDS = ("No space left on device", "os error 28", "File too large", "os error 27", "Disk quota exceeded")
_FULL_WRITER = ("PytorchStreamWriter failed", "unexpected pos")
_MEMORY_WORDS = ("out of memory", "not enough memory", "can't allocate memory", "Cannot allocate memory")
_SMALLER = (
    "The machine's memory does not hold this training. Less is needed with a smaller context or micro_batch, "
    "or gradient_checkpointing, in the server's catalogue of models, or with a smaller model."
)
ENDED_FOR_MEMORY = f"The system ended the training process, as it does where memory runs out. {_SMALLER}"
_NEEDS = {
    "training": _SMALLER,
    "answering": "The machine's memory does not hold the model and the messages. Less is needed with fewer or shorter "
    "messages, or with a smaller model.",
    "exporting": "The machine's memory does not hold the whole model, which is put together there: export it on a "
    "larger one.",
}
_AGAIN = {"training": "create the job again", "answering": "ask again", "exporting": "export again"}
_PEER_TYPES = ("DistError", "DistBackendError", "DistNetworkError", "DistStoreError")
_PEER_WORDS = ("gloo", "Connection closed by peer", "Connection reset by peer")


class Failure(Exception):
    """It cannot succeed: a code, words for a person, and the parameter at fault, if one is."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


def failure_of(error: BaseException, process: Literal["training", "answering", "exporting"] = "training") -> Failure:
    """Say what an exception means for the job, or for what else the process does."""
    if isinstance(error, Failure):
        return error
    chain = [error, *filter(None, (error.__cause__, error.__context__))]
    if any(map(_is_full, chain)):
        disk = "The disk" if process == "exporting" else "The server's disk"
        return Failure(FULL, f"{disk} is full: free some space, then {_AGAIN[process]}.")
    if any(map(_is_memory, chain)):
        return Failure(MEMORY, _NEEDS[process])
    words = f"The {process} process failed: {type(error).__name__}: {said(error, 300)}"
    return Failure(SERVER_ERROR, words)


def said(words: object, most: int) -> str:
    """Return what a library said in a line, cut. No key of this process is in it, and no user of an address."""
    line = re.sub(r"(?<=://)[^/\s]*@", "", " ".join(str(words).split()))
    return redact(line, *secrets_of(os.environ))[:most]


def is_lost(error: BaseException) -> bool:
    """Whether an exception only says that another of several workers is gone, or cannot be reached."""
    if type(error).__name__ in _PEER_TYPES:
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _PEER_WORDS)


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return True
    return any(words in str(error) for words in (*_FULL_WORDS, *_FULL_WRITER))


def _is_memory(error: BaseException) -> bool:
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or (isinstance(error, RuntimeError | OSError) and any(w in str(error) for w in _MEMORY_WORDS))
