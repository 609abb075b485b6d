"""Where the server's owner has runs shown: the words of ``--track``. Nothing secret is in what comes of them."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from reconciler.errors import MissingExtra, UsageError

URI_VARIABLE = "MLFLOW_TRACKING_URI"
EXPERIMENT_VARIABLE = "MLFLOW_EXPERIMENT_NAME"
USER_VARIABLE = "MLFLOW_TRACKING_USERNAME"
PASSWORD_VARIABLE = "MLFLOW_TRACKING_PASSWORD"  # noqa: S105 - the variable's name
SQLITE = "sqlite:///"
_FORMS = "mlflow, mlflow=URI, tensorboard or tensorboard=DIR"


class MlflowTarget(BaseModel):
    """An MLflow server, or a database file. ``uri`` None: the process reads MLFLOW_TRACKING_URI, as a key is in it."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["mlflow"] = "mlflow"
    uri: str | None


class TensorBoardTarget(BaseModel):
    """A directory, below which each run has one of its own."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["tensorboard"] = "tensorboard"
    directory: Path


Target = Annotated[MlflowTarget | TensorBoardTarget, Field(discriminator="kind")]


def parse(words: Sequence[str], directory: Path, environment: Mapping[str, str]) -> tuple[Target, ...]:
    """Read the words of ``--track``; what names no place gets one below ``directory``.

    Raises:
        UsageError: words that mean nothing, the same library twice, or an address that is none, or has a key in it.
        MissingExtra: the library is not installed.
    """
    places: dict[str, Target] = {}
    for word in words:
        kind, named, value = word.partition("=")
        if kind in places:
            raise UsageError(f"--track has {kind} twice.", hint="A run is shown in one place of each kind.")
        if named and not value:
            raise UsageError(f"--track {kind}= names no place.", hint=f"Use one of {_FORMS}.")
        if kind == "mlflow":
            places[kind] = MlflowTarget(uri=_mlflow(value, directory, environment))
        elif kind == "tensorboard":
            _need("TensorBoard", "tensorboard", "tensorboard")
            place = Path(value).expanduser().absolute() if value else directory / "tensorboard"
            places[kind] = TensorBoardTarget(directory=place)
        else:
            said = f" {kind!r}" if re.fullmatch(r"[\w.-]{1,40}", kind) else " this"  # an address may have a key in it
            raise UsageError(f"--track does not know{said}.", hint=f"Use one of {_FORMS}.")
    return tuple(places.values())


def _mlflow(value: str, directory: Path, environment: Mapping[str, str]) -> str | None:
    _need("MLflow", "mlflow", "mlflow")
    given = environment.get(URI_VARIABLE)
    try:
        uri = _address(value or given or f"{SQLITE}{directory.absolute() / 'mlflow.db'}")
    except UsageError:
        if value:
            raise
        return None  # MLflow's variable holds a key, or what MLflow alone understands: the process reads it
    if uri.startswith(SQLITE):
        _need("What MLflow needs to write a database", "mlflow", "sqlalchemy", "alembic")
    return uri


def _address(uri: str) -> str:
    """Return the address of a server, or of a file.

    Raises:
        UsageError: it is neither, or has a key in it; the message does not show it.
    """
    if uri.startswith(SQLITE) and (file := uri.removeprefix(SQLITE)):
        return f"{SQLITE}{Path(file).absolute()}"
    try:
        parts = urlsplit(uri)
        whole = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or True)
    except ValueError:
        whole, parts = False, urlsplit("")
    if not whole:
        raise UsageError(
            "--track mlflow names no place of MLflow's.", hint=f"Use http://HOST:PORT, or {SQLITE}FILE for a file."
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        hint = f"Set {USER_VARIABLE} and {PASSWORD_VARIABLE}, or MLFLOW_TRACKING_TOKEN, or {URI_VARIABLE} as a whole."
        raise UsageError("--track mlflow takes an address without a user, a password or a query.", hint=hint)
    return uri.rstrip("/")


def _need(what: str, extra: str, *modules: str) -> None:
    if any(importlib.util.find_spec(module) is None for module in modules):
        raise MissingExtra(what, extra)
