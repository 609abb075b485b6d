"""Names and the models they became, for other programs to read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from typing import Literal

from reconciler.errors import ReconcilerError
from reconciler.report.document import to_text
from reconciler.report.escape import exact

Format = Literal["json", "yaml", "env", "tfvars"]
Models = Mapping[str, str | None]


def outputs(models: Models, form: Format) -> str:
    """Return the models by name, sorted; None is a name whose model does not exist yet.

    ``env`` cannot say None: such a name becomes a comment, so that nobody reads an empty model out of it.

    Raises:
        ReconcilerError: ``env`` cannot keep two names apart, or cannot hold a model's name.
    """
    return _WRITERS[form](dict(sorted(models.items())))


def _yaml(models: Models) -> str:
    lines = [f"{quoted(name)}: {'null' if model is None else quoted(model)}" for name, model in models.items()]
    return "\n".join(lines or ["{}"]) + "\n"


def _tfvars(models: Models) -> str:
    """One map variable: names of specs may hold dots, names of Terraform variables may not."""
    width = max((len(_hcl(name)) for name in models), default=0)
    lines = [f"  {_hcl(name):<{width}} = {'null' if model is None else _hcl(model)}" for name, model in models.items()]
    return "\n".join(["fine_tuned_models = {", *lines, "}"]) + "\n"


def _env(models: Models) -> str:
    taken: dict[str, str] = {}
    lines = []
    for name, model in models.items():
        variable = _variable(name)
        if variable in taken:
            raise ReconcilerError(
                f"{exact(taken[variable])!r} and {exact(name)!r} would both be {variable}.",
                hint="Use another format, or rename one of the two specs.",
            )
        taken[variable] = name
        if model is not None and not model.isprintable():
            raise ReconcilerError(
                f"The server's model for {exact(name)!r} has a name that no environment file can hold: {exact(model)}",
                hint="Use --format json.",
            )
        lines.append(f"# {variable}: no model yet" if model is None else f"{variable}={_shell(model)}")
    return "".join(f"{line}\n" for line in lines)


def _shell(text: str) -> str:
    return shlex.quote(text).replace("##", "#''#")  # within quotes, which a # always brings: ##[error] is an order


def _variable(name: str) -> str:
    variable = re.sub(r"[^A-Z0-9]", "_", name.upper())
    return variable if not variable[:1].isdigit() else f"_{variable}"


def quoted(text: str) -> str:
    """Return a string in double quotes, in ASCII, by the escapes that YAML and HCL share. No log of a CI obeys it."""
    return '"' + "".join(map(_character, text)).replace("##", "#\\u0023") + '"'


def _character(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if " " <= character <= "~":
        return character
    point = ord(character)
    return f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"


def _hcl(text: str) -> str:
    """Return a string that HCL reads as it is: an opened template is doubled."""
    return quoted(text).replace("${", "$${").replace("%{", "%%{")


_WRITERS: Mapping[Format, Callable[[Models], str]] = {"json": to_text, "yaml": _yaml, "env": _env, "tfvars": _tfvars}
